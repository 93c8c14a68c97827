"""Arms as SLURM jobs, submitted by submitit. https://github.com/facebookincubator/submitit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fp_lab.lab.grids.engines.engine import Lost, RemoteEngine
from fp_lab.lab.grids.engines.journaled import work_journaled
from fp_lab.lab.runs.job import Job, Outcome

_A_DAY = 24 * 60  # minutes


class Slurm(RemoteEngine[Any]):
    """Each arm is a job of one task with the CPUs that its config names as threads.

    The folder of runs has to be on a file system that all nodes share.

    Args:
        workers: jobs that are submitted at once; None: all arms.
        folder: for submitit's logs.
        options: of submitit's ``AutoExecutor.update_parameters``, such as ``timeout_min``, ``mem_gb``,
            ``slurm_partition``, ``gpus_per_node``; and ``cluster``: ``slurm`` (the default) or ``local``,
            which runs jobs as processes of this machine, to try it out.

    Raises:
        ValueError: submitit is not installed, there is no SLURM, or an option that submitit does not know.
    """

    def __init__(self, workers: int | None, folder: Path, options: Mapping[str, str]) -> None:
        super().__init__(workers)
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise ValueError("the engine slurm needs submitit: pip install -e '.[slurm]'") from error
        self._submitit = submitit
        own: dict[str, Any] = {name: int(v) if v.isdecimal() else v for name, v in options.items()}
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=own.pop("cluster", "slurm"))
            self._executor.update_parameters(**{"name": "fp_lab", "timeout_min": _A_DAY, **own})
        except (RuntimeError, NameError, ValueError) as error:
            raise ValueError(f"the engine slurm cannot be used: {error}") from error

    def _start(self, job: Job) -> Any:
        training = job.config.training
        self._executor.update_parameters(cpus_per_task=training.threads * training.devices)
        return self._executor.submit(work_journaled, job)

    def _look(self, handle: Any) -> Outcome | Lost | None:
        if not handle.done():
            return None
        try:
            outcome: Outcome = handle.result()
        except (
            self._submitit.core.utils.FailedJobError,
            self._submitit.core.utils.UncompletedJobError,
        ) as error:
            return Lost(f"{handle.state}: {(str(error).splitlines() or [''])[0]}")
        return outcome

    def close(self) -> None:
        """Cancel the jobs that still wait or run."""
        for running in self._running:
            running.handle.cancel()
        self._running = []
