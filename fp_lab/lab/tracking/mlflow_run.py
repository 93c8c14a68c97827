"""A run in a tracking store."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from fp_lab.lab.runtime.reporter import Step
from fp_lab.lab.tracking.store import Store, Unreachable

RESULTS_TAG, CHECKPOINTS_TAG = "fp_lab.results", "fp_lab.checkpoints"
WITHOUT_ROLLOUT_TAG = "fp_lab.without_rollout"
Status = Literal["FINISHED", "FAILED", "KILLED"]
Figure = tuple[str, float, int]
"""Metric as name, value and step."""

_FLUSH_EVERY = 5.0  # seconds
_METRICS, _PARAMETERS = 1000, 100  # entries per call, MLflow's limits
_LONGEST_PARAMETER = 6000

T = TypeVar("T")


def _no_tags() -> dict[str, str]:
    return {}


class TrackedRun:
    """A run; nothing is sent twice, and what cannot be sent now is kept for later."""

    def __init__(
        self,
        store: Store,
        identity: tuple[str, str],
        name: str,
        parameters: Mapping[str, Any] | None = None,
        tags: Callable[[], Mapping[str, str]] = _no_tags,
        *,
        begins: bool = True,
    ) -> None:
        self.name = name
        self._store, self._identity = store, (identity[0], identity[1].replace("'", ""))
        self._parameters, self._tags, self._begins = parameters or {}, tags, begins
        self._id = ""
        self._marks: dict[str, str] = {}
        self._failed = False
        self._waiting: list[Figure] = []
        self._told = set[int]()  # training steps whose loss, which is sent last, was sent
        self._looks = 0
        self._flushed = time.monotonic()

    def opened(self) -> str:
        """Return the run's id; found or created in the store on the first call, as running if work begins.

        Raises:
            Unreachable: the store does not answer.
        """
        if not self._id:
            run = self._store.find_or_create(*self._identity, self.name, self._tags())
            run_id = run.info.run_id
            if self._begins:
                self._store.ask(lambda client: client.update_run(run_id, status="RUNNING"))
            if not run.data.params:
                self._log_parameters(run_id)
            history = self._store.ask(lambda client: client.get_metric_history(run_id, "train/loss"))
            self._told |= {entry.step for entry in history}
            self._marks |= run.data.tags
            self._id = run_id
        return self._id

    def open(self) -> bool:
        """Open the run as `opened` does; return whether that was possible."""
        try:
            return bool(self.opened())
        except Unreachable:
            return False

    def log_step(self, step: Step) -> None:
        """Log a training step; written a few at a time."""
        self._wait_with({step.step: step.figures})
        self._now_and_then()

    def log_steps(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        """Log the metrics of training steps by step, only those not logged before.

        Raises:
            Unreachable: the store does not answer, as for the methods below.
        """
        self._wait_with(steps)
        if not self.flush():
            raise Unreachable(self.name)

    def log_machine(self, figures: Mapping[str, float]) -> None:
        """Log system metrics, where MLflow shows them."""
        self._looks += 1
        self._waiting += [(f"system/{name}", value, self._looks) for name, value in figures.items()]
        self._now_and_then()

    def flush(self) -> bool:
        """Send waiting metrics; return whether none is left."""
        self._flushed = time.monotonic()
        if self._waiting and self.open():
            try:
                self._log(self._waiting)
            except Unreachable:
                return False
            self._waiting = []
        return not self._waiting

    def has(self, tag: str, key: str) -> bool:
        """Return whether what a tag stands for, such as results (`RESULTS_TAG`), was logged with a key."""
        return self._marks.get(tag) == key

    def mark(self, tag: str, key: str) -> None:
        """Mark all data of this key as logged."""
        self.log_tags({tag: key})
        self._marks[tag] = key

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Log tags to search by."""
        from mlflow.entities import RunTag

        entries = [RunTag(key, str(value)) for key, value in tags.items()]
        self._ask(lambda client, run_id: client.log_batch(run_id, tags=entries))

    def log_figures(self, figures: Mapping[str, float], step: int = 0) -> None:
        """Log results; undefined ones are left out."""
        self._log([(key, value, step) for key, value in figures.items()])

    def log_files(self, files: Sequence[Path], folder: str) -> None:
        """Log files as artifacts."""
        for file in files:
            self._ask(_logging(file, folder))

    def log_missing_files(self, files: Sequence[Path], folder: str) -> None:
        """Log those files as artifacts that the store does not have in this size already."""
        stored = self._ask(lambda client, run_id: client.list_artifacts(run_id, folder or None))
        sizes = {entry.path.rpartition("/")[2]: entry.file_size for entry in stored}
        self.log_files([file for file in files if sizes.get(file.name) != file.stat().st_size], folder)

    def fail(self) -> None:
        """Mark the run as failed at its close, though work goes on."""
        self._failed = True

    def close(self, status: Status) -> bool:
        """Send waiting metrics and close the run, if it was opened; return whether that was possible."""
        sent = self.flush()
        if not self._id:
            return sent
        try:
            self._ask(lambda client, run_id: client.set_terminated(run_id, status))
        except Unreachable:
            return False
        return sent

    @contextmanager
    def closing(self) -> Iterator["TrackedRun"]:
        """Close the run with the status of the body: finished, failed, or killed by Ctrl-C or an exit."""
        try:
            yield self
        except Exception:
            self.close("FAILED")
            raise
        except BaseException:
            self.close("KILLED")
            raise
        self.close("FAILED" if self._failed else "FINISHED")

    def _wait_with(self, steps: Mapping[int, Mapping[str, float]]) -> None:
        self.open()
        for step in sorted(steps.keys() - self._told):
            loss_last = sorted(steps[step].items(), key=lambda figure: figure[0] == "loss")
            self._waiting += [(f"train/{name}", value, step) for name, value in loss_last]
            self._told.add(step)

    def _now_and_then(self) -> None:
        if time.monotonic() - self._flushed >= _FLUSH_EVERY:
            self.flush()

    def _log_parameters(self, run_id: str) -> None:
        from mlflow.entities import Param

        entries = [Param(key, str(value)[:_LONGEST_PARAMETER]) for key, value in self._parameters.items()]
        for part in _parts(entries, _PARAMETERS):
            self._store.ask(_batch(run_id, params=part))

    def _log(self, figures: Sequence[Figure]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value, step in figures if math.isfinite(value)]
        for part in _parts(metrics, _METRICS):
            self._store.ask(_batch(self.opened(), metrics=part))

    def _ask(self, question: Callable[[Any, str], T]) -> T:
        run_id = self.opened()
        return self._store.ask(lambda client: question(client, run_id))


def _parts(entries: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(entries), size):
        yield entries[begin : begin + size]


def _batch(run_id: str, **entries: Any) -> Callable[[Any], Any]:
    return lambda client: client.log_batch(run_id, **entries)


def _logging(file: Path, folder: str) -> Callable[[Any, str], Any]:
    return lambda client, run_id: client.log_artifact(run_id, str(file), folder)
