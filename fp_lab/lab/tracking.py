"""Grids and arms in MLflow. The only file that knows MLflow, which is imported when a store is opened."""

import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from fp_lab.lab.reporter import Step

EXPERIMENT = "fp_lab"
GRID_TAG, ARM_TAG, RESULTS_TAG = "fp_lab.grid", "fp_lab.arm_key", "fp_lab.results"
SCORES_TAG = "fp_lab.scores"
Status = Literal["FINISHED", "FAILED", "KILLED"]

_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_FLUSH_EVERY = 25  # steps
_BATCH = 100  # entries per call, the least of MLflow's limits
_LONGEST_PARAMETER = 6000


class Tracker:
    """The store, and one parent run per grid.

    Args:
        runs: folder of runs; the store is ``mlflow.db`` in it, unless MLFLOW_TRACKING_URI names another.
    """

    def __init__(self, runs: Path) -> None:
        self._client = _connect(runs)
        self._experiment = _experiment(self._client, runs)

    def grid(self, name: str, folder: Path) -> "TrackedRun":
        """The parent run of a grid: the one that it had before, if there is one."""
        return self._open(GRID_TAG, str(folder.resolve()), name, {})

    def arm(self, parent: "TrackedRun", name: str, key: str, parameters: Mapping[str, Any]) -> "TrackedRun":
        """The child run of an arm: the one that it had before with the same key, if there is one."""
        return self._open(ARM_TAG, key, name, {"mlflow.parentRunId": parent.id}, parameters)

    def scores(self, key: str, name: str, parameters: Mapping[str, Any]) -> "TrackedRun":
        """A run for scores of videos that were made elsewhere, a new one every time."""
        tags = {SCORES_TAG: key, "mlflow.source.name": "fp-lab"}
        created = self._client.create_run(self._experiment, tags=tags, run_name=name)
        run = TrackedRun(self._client, created.info.run_id)
        run.log_parameters(parameters)
        return run

    def _open(
        self,
        tag: str,
        value: str,
        name: str,
        tags: Mapping[str, str],
        parameters: Mapping[str, Any] | None = None,
    ) -> "TrackedRun":
        quoted = value.replace("'", "")
        found = self._client.search_runs([self._experiment], f"tags.`{tag}` = '{quoted}'", max_results=1)
        if found:
            run = TrackedRun(self._client, found[0].info.run_id, found[0].data.tags.get(RESULTS_TAG, ""))
            self._client.update_run(run.id, status="RUNNING")
            for key, entry in tags.items():
                self._client.set_tag(run.id, key, entry)
            return run
        created = self._client.create_run(
            self._experiment, tags={tag: quoted, "mlflow.source.name": "fp-lab", **tags}, run_name=name
        )
        run = TrackedRun(self._client, created.info.run_id)
        run.log_parameters(parameters or {})
        return run


class TrackedRun:
    """One run; what it was told before it is not told twice."""

    def __init__(self, client: Any, run_id: str, results: str = "") -> None:
        self._client, self.id = client, run_id
        self._results = results
        self._failed = False
        self._waiting: list[Step] = []
        history = client.get_metric_history(run_id, "train/loss")
        self._last_step = max((entry.step for entry in history), default=0)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Flat settings; values are written as text."""
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:_LONGEST_PARAMETER]) for key, value in parameters.items()]
        for begin in range(0, len(entries), _BATCH):
            self._client.log_batch(self.id, params=entries[begin : begin + _BATCH])

    def log_step(self, step: Step) -> None:
        """A training step; written a few at a time."""
        if step.step > self._last_step:
            self._waiting.append(step)
            self._last_step = step.step
        if len(self._waiting) >= _FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Write the steps that wait."""
        figures = [
            (
                step.step,
                {"loss": step.loss, "learning_rate": step.learning_rate, "step_seconds": step.seconds},
            )
            for step in self._waiting
        ]
        self._log([(f"train/{key}", value, step) for step, row in figures for key, value in row.items()])
        self._waiting.clear()

    def has_results(self, key: str) -> bool:
        """Whether the results of this key were logged."""
        return self._results == key

    def mark_results(self, key: str) -> None:
        """Say that all results of this key are logged."""
        self._client.set_tag(self.id, RESULTS_TAG, key)

    def log_figures(self, figures: Mapping[str, float]) -> None:
        """Results; undefined ones are left out."""
        self._log([(key, value, 0) for key, value in figures.items() if math.isfinite(value)])

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        """Artifacts."""
        for file in files:
            self._client.log_artifact(self.id, str(file), folder)

    def fail(self) -> None:
        """Part of the work has failed: the run will be closed so, though it goes on."""
        self._failed = True

    def close(self, status: Status) -> None:
        """Write what waits and close the run."""
        self.flush()
        self._client.set_terminated(self.id, status)

    @contextmanager
    def closing(self) -> Iterator["TrackedRun"]:
        """Closes the run by how its body ends: done, failed, or killed by Ctrl-C or an exit."""
        try:
            yield self
        except Exception:
            self.close("FAILED")
            raise
        except BaseException:
            self.close("KILLED")
            raise
        self.close("FAILED" if self._failed else "FINISHED")

    def _log(self, figures: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value, step in figures]
        for begin in range(0, len(metrics), _BATCH):
            self._client.log_batch(self.id, metrics=metrics[begin : begin + _BATCH])


def _connect(runs: Path) -> Any:
    """An MlflowClient; its name is not known here before MLflow is needed."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    runs.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's tables and settings: none of a user's business
        from mlflow import MlflowClient

        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return MlflowClient(os.environ.get(_URI_VARIABLE) or f"sqlite:///{(runs / 'mlflow.db').resolve()}")


def _experiment(client: Any, runs: Path) -> str:
    known = client.get_experiment_by_name(EXPERIMENT)
    if known is not None:
        return str(known.experiment_id)
    # a server knows best where its artifacts go; our own store would put them into the working directory
    location = None if os.environ.get(_URI_VARIABLE) else (runs / "mlartifacts").resolve().as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=location))
