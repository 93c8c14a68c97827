"""Scheduling of a grid's arms: waiting, running, failed, and not yet in MLflow."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from fp_lab.lab.config import flatten
from fp_lab.lab.files.locking import Busy, only_one
from fp_lab.lab.files.run_folder import RunFolder, digest
from fp_lab.lab.grids.engines import Engine
from fp_lab.lab.grids.progress import ArmProgress, GridProgress
from fp_lab.lab.grids.result_line import result_line
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.tracking import Child, TrackedRun, Tracker, Unreachable
from fp_lab.lab.tracking.log_run import checkpoints_key, mirror, shown_files, without_rollout_key

_BUSY_PAUSE = 1.0  # seconds before another look at an arm that another process is at
_LAST_TRIES = 6  # for a tracking server to answer before a grid ends
_BETWEEN_TRIES = 10.0  # seconds


class ArmScheduler:
    """Brings jobs up to date by an engine, with progress and tracking.

    Attributes:
        failed: labels of the arms that did not finish, with the reason.
        halted: reason why all was stopped; empty unless the folder could not be written to.
        unsent: finished arms that MLflow does not show yet.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        engine: Engine,
        tracker: Tracker,
        parent: TrackedRun,
        progress: GridProgress,
    ) -> None:
        self.jobs, self.engine, self.progress = jobs, engine, progress
        self.failed: dict[str, str] = {}
        self.halted = ""
        self.unsent: list[Job] = []
        self._numbers = {job.folder: number for number, job in enumerate(jobs, start=1)}
        self._tracker = tracker
        children = tracker.children(parent)
        _close_strays(tracker, children)
        self._known = {child.folder: child for child in children}
        self._tracked = {job.folder: _tracked(tracker, parent, job) for job in jobs}
        self._bars: dict[Path, ArmProgress] = {}

    def run(self, retry_failed: bool) -> None:
        """Do all pending jobs; those that another process works on are checked again."""
        waiting = deque(job for job in self.jobs if self._is_to_be_done(job, retry_failed))
        busy: deque[Job] = deque()
        try:
            while (waiting or busy or self._bars) and not self.halted:
                while self.engine.free and (job := self._next(waiting)):
                    waiting.remove(job)
                    self._submit(job)
                for job, outcome in self.engine.ended():
                    again = self._end(job, outcome)
                    busy.extend([job] if again else [])
                if busy and not waiting and not self._bars:
                    time.sleep(_BUSY_PAUSE)
                    waiting, busy = busy, deque()
        finally:  # there are some only after Ctrl-C, or when all is given up
            for folder in self._bars:
                self._tracked[folder].close("KILLED")

    def _next(self, waiting: Iterable[Job]) -> Job | None:
        """First waiting job that takes over no model which is still being trained."""
        running = [job for job in self.jobs if job.folder in self._bars]
        training = {
            job.keys.train: job.folder
            for job in running
            if not RunFolder(job.folder).is_done("train", job.keys.train)
        }
        return next((job for job in waiting if training.get(job.keys.train) not in job.trained), None)

    def log_efficiency(self, figures: Mapping[str, Mapping[str, float]]) -> None:
        """Log to MLflow the measurements of finished arms, by folder name."""
        for job in self.jobs:
            own, tracked = figures.get(job.folder.parent.name), self._tracked[job.folder]
            if own is not None and job.label not in self.failed and job not in self.unsent:
                with suppress(Unreachable):
                    tracked.log_figures({f"efficiency/{name}": value for name, value in own.items()})
                tracked.close("FINISHED")

    def catch_up(self) -> None:
        """Send missed data to MLflow, waiting for it a while."""
        for _ in range(_LAST_TRIES):
            self.unsent = [job for job in self.unsent if not self._send(job)]
            if not self.unsent:
                return
            if self._tracker.refuses:
                break
            self.progress.say(
                f"Waiting for MLflow to answer: it misses {len(self.unsent)} of {len(self.jobs)} arms"
            )
            time.sleep(_BETWEEN_TRIES)
        self.progress.say("MLflow did not answer; the same command sends it what it misses.")

    def _is_to_be_done(self, job: Job, retry_failed: bool) -> bool:
        place = RunFolder(job.folder)
        if job.is_whole:
            self._say(job, "was done already")
            self.progress.arm_done()
            if not self._is_shown(job) and not self._send(job):
                self.unsent.append(job)
            return False
        if (reason := place.failure(job.key)) and not retry_failed:
            self._say(job, f"FAILED before, {reason} (see {place.error}; --retry-failed tries again)")
            self.failed[job.label] = reason
            self.progress.arm_done()
            return False
        return True

    def _is_shown(self, job: Job) -> bool:
        child = self._known.get(job.folder.resolve())
        place = RunFolder(job.folder)
        return bool(
            child
            and child.results == job.key
            and child.checkpoints == checkpoints_key(place)
            and child.without_rollout == without_rollout_key(place)
            and child.has(shown_files(place))
        )

    def _submit(self, job: Job) -> None:
        bar = self.progress.arm(
            f"[{self._numbers[job.folder]}/{len(self.jobs)}] {job.label}", self._tracked[job.folder]
        )
        self._bars[job.folder] = bar
        self.engine.submit(job, bar)

    def _end(self, job: Job, outcome: Outcome) -> bool:
        """Report and track the outcome of a job; return whether it has to be checked again."""
        self._bars.pop(job.folder).end()
        place, tracked = RunFolder(job.folder), self._tracked[job.folder]
        if outcome.state == "busy":
            return True
        if outcome.state == "done":
            what = (
                f"{', '.join(outcome.stages)} in {outcome.seconds:.0f} s"
                if outcome.stages
                else "was done already"
            )
            self._say(job, "; ".join(filter(None, (what, result_line(place.scores)))))
            if not self._send(job):
                self.unsent.append(job)
        elif outcome.state == "failed":
            self.failed[job.label] = outcome.reason
            self._say(
                job, f"FAILED, {outcome.reason}" + (f" (see {place.error})" if place.error.is_file() else "")
            )
            _log_failure(place, tracked)
            tracked.close("FAILED")
        else:
            self.halted = outcome.reason
            tracked.close("KILLED")
        self.progress.arm_done()
        return False

    def _send(self, job: Job) -> bool:
        """Log a finished run to MLflow; return whether that was possible."""
        tracked = self._tracked[job.folder]
        try:
            with suppress(Busy), only_one(RunFolder(job.folder).lock, wait=False):  # or another grid sends it
                mirror(RunFolder(job.folder), tracked, job.key)
        except Unreachable:
            return False
        return tracked.close("FINISHED")

    def _say(self, job: Job, what: str) -> None:
        self.progress.say(f"[{self._numbers[job.folder]}/{len(self.jobs)}] {job.label}: {what}")


def _tracked(tracker: Tracker, parent: TrackedRun, job: Job) -> TrackedRun:
    content = asdict(job.config)
    figures = {name: part for name, part in content.items() if name != "track"}  # does not change them
    key = digest({"folder": str(job.folder.resolve()), "config": figures})
    return tracker.arm(parent, job.label, key, flatten(content), job.folder)


def _close_strays(tracker: Tracker, children: Sequence[Child]) -> None:
    """Close runs that are RUNNING in MLflow without a process, as they were killed; pending ones reopen."""
    for child in children:
        if child.status == "RUNNING":
            with suppress(Busy, OSError), only_one(RunFolder(child.folder).lock, wait=False):
                tracker.close_killed(child)


def _log_failure(place: RunFolder, tracked: TrackedRun) -> None:
    with suppress(Unreachable):
        tracked.log_files([place.error] if place.error.is_file() else [], "")
