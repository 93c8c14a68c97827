"""Engine that runs one arm after another in this process."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fp_lab.lab.grids.engines.engine import Engine
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.runtime.system_metrics import watching

if TYPE_CHECKING:
    from fp_lab.lab.materials.materials import Materials


class InProcess(Engine):
    """Runs each job when its outcome is requested.

    Args:
        cache: folder of materials that arms share.
    """

    on_this_machine = True

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._waiting: tuple[Job, Reporter] | None = None

    @cached_property
    def _materials(self) -> "Materials":
        from fp_lab.lab.materials.materials import Materials  # slow to import

        return Materials(self._cache, Reporter())

    @property
    def free(self) -> bool:
        """Whether no job waits."""
        return self._waiting is None

    def submit(self, job: Job, reporter: Reporter) -> None:
        """Store a job."""
        self._waiting = job, reporter

    def ended(self) -> list[tuple[Job, Outcome]]:
        """Run the waiting job."""
        if self._waiting is None:
            return []
        from fp_lab.lab.runs.run_job import run_job  # slow to import

        job, reporter = self._waiting
        self._waiting = None
        with watching(reporter):
            return [(job, run_job(job, self._materials, reporter))]

    def close(self) -> None:
        """Do nothing, as no job runs between two calls."""
