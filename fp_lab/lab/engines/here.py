"""One arm after another in this process."""

from pathlib import Path

from fp_lab.lab.arm import Job, Outcome, work
from fp_lab.lab.build import Materials
from fp_lab.lab.engines.protocol import Engine
from fp_lab.lab.machine import watching
from fp_lab.lab.reporter import Reporter


class Here(Engine):
    """Does a job when it is asked how it ended.

    Args:
        cache: what arms have in common on disk.
    """

    def __init__(self, cache: Path) -> None:
        self._materials = Materials(cache, Reporter())
        self._waiting: tuple[Job, Reporter] | None = None

    @property
    def free(self) -> bool:
        """Whether nothing waits."""
        return self._waiting is None

    def submit(self, job: Job, reporter: Reporter) -> None:
        """Keep a job."""
        self._waiting = job, reporter

    def ended(self) -> list[tuple[Job, Outcome]]:
        """Do the job that waits."""
        if self._waiting is None:
            return []
        job, reporter = self._waiting
        self._waiting = None
        with watching(reporter):
            return [(job, work(job, self._materials, reporter))]

    def close(self) -> None:
        """Nothing runs between two calls."""
