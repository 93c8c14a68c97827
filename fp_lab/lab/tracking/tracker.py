"""The runs of grids, arms and scored folders in a store."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from fp_lab.lab.tracking.mlflow_run import CHECKPOINTS_TAG, RESULTS_TAG, TrackedRun
from fp_lab.lab.tracking.store import FOLDER_TAG, GRID_TAG, Store, Unreachable

ARM_TAG, SCORES_TAG = "fp_lab.arm_key", "fp_lab.scores"
PARENT_TAG = "mlflow.parentRunId"


@dataclass(frozen=True)
class Child:
    """An arm as the store knows it.

    Attributes:
        id: of the run.
        folder: of the run.
        status: MLflow's.
        results: key of the results that were logged; empty without any.
        checkpoints: the same of its checkpoints' scores.
        artifacts: where its files are; None where a server keeps them.
    """

    id: str
    folder: Path
    status: str
    results: str
    checkpoints: str
    artifacts: Path | None

    def has(self, files: Mapping[str, Sequence[Path]]) -> bool:
        """Whether files are among its own in their folders, as large as they are; a server is believed."""
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
        """Whether no waiting for the store helps, see `Store`."""
        return self._store.refuses

    def grid(self, name: str, folder: Path) -> TrackedRun:
        """The parent run of a grid: the one that it had before, if there is one."""
        return TrackedRun(self._store, (GRID_TAG, str(folder.resolve())), name)

    def arm(
        self, parent: TrackedRun, name: str, key: str, parameters: Mapping[str, Any], folder: Path
    ) -> TrackedRun:
        """The child run of an arm: the one that it had before with the same key, if there is one."""

        def tags() -> dict[str, str]:
            return {FOLDER_TAG: str(folder.resolve()), PARENT_TAG: parent.opened()}

        return TrackedRun(self._store, (ARM_TAG, key), name, parameters, tags)

    def scores(self, key: str, name: str, parameters: Mapping[str, Any]) -> TrackedRun:
        """A run for scores of videos that were made elsewhere, a new one every time.

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
        """The newest run of an arm's folder, as it was left; None where the store knows none.

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
        """The arms of a grid that the store knows; none where it does not answer."""
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
                _local(run.info.artifact_uri),
            )
            for run in found
        ]

    def close_killed(self, child: Child) -> None:
        """Close the run of an arm at which nobody is any more."""
        try:
            self._store.ask(lambda client: client.set_terminated(child.id, "KILLED"))
        except Unreachable:
            return


def _local(uri: str) -> Path | None:
    """The folder that a URI is; None of another machine's."""
    found = urlsplit(uri)
    return Path(unquote(found.path)) if found.scheme in ("", "file") else None
