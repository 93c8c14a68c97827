"""Tracked runs of grids, arms and scored folders in a store."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fp_lab.lab.tracking.mlflow_run import (
    CHECKPOINTS_TAG,
    RESULTS_TAG,
    WITHOUT_ROLLOUT_TAG,
    TrackedRun,
)
from fp_lab.lab.tracking.store import FOLDER_TAG, GRID_TAG, Store, Unreachable

ARM_TAG, SCORES_TAG = "fp_lab.arm_key", "fp_lab.scores"
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True)
class Child:
    """An arm in the store.

    Attributes:
        id: id of the run.
        folder: folder of the run.
        status: status in MLflow.
        results: key of the logged results; empty without any.
        checkpoints: key of the logged checkpoint scores; empty without any.
        without_rollout: key of the logged measures without rollout; empty without any.
        artifacts: folder of its files; None where a server keeps them.
    """

    id: str
    folder: Path
    status: str
    results: str
    checkpoints: str
    without_rollout: str
    artifacts: Path | None

    def has(self, files: Mapping[str, Sequence[Path]]) -> bool:
        """Return whether files are logged with their folder and size; a server is trusted."""
        if self.artifacts is None:
            return True
        pairs = [(self.artifacts / folder / file.name, file) for folder in files for file in files[folder]]
        return all(kept.is_file() and kept.stat().st_size == file.stat().st_size for kept, file in pairs)


class Tracker:
    """A store, and one parent run per grid.

    Args:
        runs: folder of runs; the store is ``mlflow.db`` in it, unless MLFLOW_TRACKING_URI names another.
        say: hears that the store does not answer, and that it does again.
    """

    def __init__(self, runs: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self._store = Store(runs, say)

    @property
    def refuses(self) -> bool:
        """Whether the store fails for a permanent reason, see `Store`."""
        return self._store.refuses

    def grid(self, name: str, folder: Path) -> TrackedRun:
        """Return the parent run of a grid, an earlier one if there is one."""
        return TrackedRun(self._store, (GRID_TAG, str(folder.resolve())), name)

    def arm(
        self, parent: TrackedRun, name: str, key: str, parameters: Mapping[str, Any], folder: Path
    ) -> TrackedRun:
        """Return the child run of an arm, an earlier one with the same key if there is one."""

        def tags() -> dict[str, str]:
            return {FOLDER_TAG: str(folder.resolve()), PARENT_TAG: parent.opened()}

        return TrackedRun(self._store, (ARM_TAG, key), name, parameters, tags)

    def scores(self, key: str, name: str, parameters: Mapping[str, Any]) -> TrackedRun:
        """Create a run for scores of videos that were made elsewhere.

        Raises:
            ValueError: the store does not answer.
        """
        run = TrackedRun(self._store, (SCORES_TAG, f"{key} {time.time_ns()}"), name, parameters)
        try:
            run.opened()
        except Unreachable as error:
            raise ValueError(f"{error}. Nothing was logged there") from error
        return run

    def known(self, folder: Path) -> TrackedRun | None:
        """Find the newest run of an arm's folder, unchanged; None where there is none.

        Raises:
            Unreachable: the store does not answer.
        """
        found = self._store.search(FOLDER_TAG, str(folder.resolve())) if self._store.exists else []
        if not found:
            return None
        newest = max(found, key=lambda run: run.info.start_time)
        return TrackedRun(
            self._store, (ARM_TAG, newest.data.tags[ARM_TAG]), newest.info.run_name, begins=False
        )

    def children(self, parent: TrackedRun) -> list[Child]:
        """List the arms of a grid in the store; none where it does not answer."""
        try:
            found = self._store.search(PARENT_TAG, parent.opened())
        except Unreachable:
            return []
        return [
            Child(
                run.info.run_id,
                Path(run.data.tags.get(FOLDER_TAG, "")),
                run.info.status,
                run.data.tags.get(RESULTS_TAG, ""),
                run.data.tags.get(CHECKPOINTS_TAG, ""),
                run.data.tags.get(WITHOUT_ROLLOUT_TAG, ""),
                _local(run.info.artifact_uri),
            )
            for run in found
        ]

    def close_killed(self, child: Child) -> None:
        """Close the run of an arm that no process works on any more."""
        try:
            self._store.ask(lambda client: client.set_terminated(child.id, "KILLED"))
        except Unreachable:
            return


def _local(uri: str) -> Path | None:
    """Local folder of a URI; None for another machine."""
    found = urlsplit(uri)
    return Path(unquote(found.path)) if found.scheme in ("", "file") else None
