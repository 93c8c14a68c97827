"""A job in a separate process, reported through its journal."""

from fp_lab.lab.grids.engines.journal import Journal
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runs.run_job import run_job
from fp_lab.lab.runtime.system_metrics import watching


def run_journaled_job(job: Job, materials: Materials | None = None) -> Outcome:
    """Run a job, and write a journal of it into its folder.

    Args:
        job: job to run.
        materials: materials of the process, where it runs several jobs.
    """
    with Journal(job.folder) as journal, watching(journal):
        return run_job(job, materials or Materials(job.cache, journal), journal)
