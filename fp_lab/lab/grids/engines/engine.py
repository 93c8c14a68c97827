"""The interface of engines, which take jobs and later return their outcomes."""

from abc import ABC, abstractmethod
from types import TracebackType

from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runtime.reporter import Reporter


class Engine(ABC):
    """Engine that runs the arms of a grid. The results do not depend on it.

    Attributes:
        on_this_machine: whether its arms need the devices of this machine.
    """

    on_this_machine = False

    @property
    @abstractmethod
    def free(self) -> bool:
        """Whether another job may be submitted now."""

    @abstractmethod
    def submit(self, job: Job, reporter: Reporter) -> None:
        """Take a job; the reporter is called with its progress, in this process."""

    @abstractmethod
    def ended(self) -> list[tuple[Job, Outcome]]:
        """Return jobs that have ended since the last call; waits a moment for one."""

    @abstractmethod
    def close(self) -> None:
        """Stop all running jobs."""

    def __enter__(self) -> "Engine":
        """Start what the engine needs; its constructor only checks options."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all running jobs."""
        self.close()
