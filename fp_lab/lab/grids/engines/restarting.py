"""Engines with workers in other processes: jobs whose worker is lost are begun again."""

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.engines.engine import Engine
from fp_lab.lab.grids.engines.journal import JournalReader
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runtime.reporter import Reporter

ATTEMPTS = 3
"""Number of attempts for a job whose workers are lost (killed, out of memory, a node gone)."""
_LOOK_EVERY = 0.2  # seconds
_START_AGAIN = 30.0  # seconds until another attempt to start a job

Handle = TypeVar("Handle")


@dataclass(frozen=True)
class Lost:
    """The worker of a job is gone without an outcome, or could not be started."""

    reason: str
    started: bool = True

    def __str__(self) -> str:
        """Describe what has happened to the worker."""
        return "its worker was lost" if self.started else "it could not be started"


@dataclass
class _Running(Generic[Handle]):
    job: Job
    reader: JournalReader
    handle: Handle | Lost
    begun: float  # by time.monotonic()
    attempts: int = 1


class RestartingEngine(Engine, Generic[Handle]):
    """An engine with workers in other processes, which report through journals.

    Args:
        slots: number of jobs that may be submitted at once; None without bound.
    """

    def __init__(self, slots: int | None) -> None:
        self._slots = slots
        self._running: list[_Running[Handle]] = []

    @abstractmethod
    def _start(self, job: Job) -> Handle | Lost:
        """Start a job elsewhere, by `fp_lab.lab.grids.engines.journaled.run_journaled_job`."""

    @abstractmethod
    def _look(self, handle: Handle) -> Outcome | Lost | None:
        """Return the outcome of a job; None while it runs."""

    @property
    def _handles(self) -> list[Handle]:
        """Handles of the jobs that have been started and have not ended."""
        return [running.handle for running in self._running if not isinstance(running.handle, Lost)]

    @property
    def free(self) -> bool:
        """Whether a slot is free."""
        return self._slots is None or len(self._running) < self._slots

    def submit(self, job: Job, reporter: Reporter) -> None:
        """Start a job and read its journal."""
        reader = JournalReader(job.folder, reporter)
        self._running.append(_Running(job, reader, self._start(job), time.monotonic()))

    def ended(self) -> list[tuple[Job, Outcome]]:
        """Play all journals; restart lost jobs."""
        time.sleep(_LOOK_EVERY)
        found = []
        for running in list(self._running):
            if not isinstance(running.handle, Lost):
                outcome = self._look(running.handle)
            elif time.monotonic() >= running.begun + _START_AGAIN:
                outcome = running.handle
            else:
                continue
            running.reader.play()
            if isinstance(outcome, Lost):
                done = Outcome("done", running.job.stages) if running.job.is_whole else None
                outcome = done or self._again(running, outcome)
            if outcome is not None:
                self._running.remove(running)
                found.append((running.job, outcome))
        return found

    def _again(self, running: _Running[Any], lost: Lost) -> Outcome | None:
        if running.attempts == ATTEMPTS:
            reason = f"{lost} {ATTEMPTS} times: {lost.reason}"
            RunFolder(running.job.folder).record_failure(running.job.key, reason, reason)
            return Outcome("failed", reason=reason)
        running.reader.reporter.say(f"{running.job.label}: {lost} ({lost.reason}); begun again")
        running.handle, running.begun = self._start(running.job), time.monotonic()
        running.attempts += 1
        return None
