"""Engine that runs arms as SLURM jobs, submitted by submitit. https://github.com/facebookincubator/submitit."""

import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fp_lab.lab.files.atomic import CANNOT_WRITE
from fp_lab.lab.grids.engines.journaled import run_journaled_job
from fp_lab.lab.grids.engines.restarting import Lost, RestartingEngine
from fp_lab.lab.runs.job import Job, Outcome

_A_DAY = 24 * 60  # minutes
_ASK_EVERY = 60.0  # seconds between questions after an answer that says nothing
_ENDED = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"),
    *("REVOKED", "FINISHED", "INTERRUPTED", "NO"),  # the last three are submitit's own, of local jobs
)
"""First words of the states of ended jobs, https://slurm.schedmd.com/job_state_codes.html."""
_ALIVE = (
    *("PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING"),
    *("STAGE_OUT", "PREEMPTED", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"),
)
"""First words of the states of jobs that have not ended."""


class Slurm(RestartingEngine[Any]):
    """Runs each arm as a job of one task with as many CPUs as its config has threads.

    The folder of runs has to be on a file system that all nodes share. A job has ended when its outcome is
    there, or when SLURM reports an end state. A job without a known state for longer than it may take
    (``timeout_min``) is lost.

    Args:
        workers: number of jobs submitted at once; None: all arms.
        folder: folder of submitit's logs.
        options: options of submitit's ``AutoExecutor.update_parameters``, such as ``timeout_min``,
            ``mem_gb``, ``slurm_partition``, ``gpus_per_node``; and ``cluster``: ``slurm`` (the default) or
            ``local``, which runs jobs as processes of this machine, to try it out.

    Raises:
        ValueError: submitit is not installed, there is no SLURM, or submitit does not know an option.
    """

    def __init__(self, workers: int | None, folder: Path, options: Mapping[str, str]) -> None:
        super().__init__(workers)
        self._heard: dict[str, float] = {}  # when a job was last known to be alive, by time.monotonic()
        self._ask_again = self._forget_again = 0.0  # not before, by time.monotonic()
        try:
            import submitit
        except ModuleNotFoundError as error:
            raise ValueError("the engine slurm needs submitit: pip install -e '.[slurm]'") from error
        own: dict[str, Any] = {name: int(v) if v.isdecimal() else v for name, v in options.items()}
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=own.pop("cluster", "slurm"))
            settings: dict[str, Any] = {"name": "fp_lab", "timeout_min": _A_DAY, **own}
            self._executor.update_parameters(**settings)
            self._patience = 60 * float(settings["timeout_min"])
        except (RuntimeError, NameError, ValueError) as error:
            raise ValueError(f"the engine slurm cannot be used: {error}") from error

    def _start(self, job: Job) -> Any | Lost:
        training = job.config.training
        self._executor.update_parameters(cpus_per_task=training.threads * training.devices)
        try:
            return self._executor.submit(run_journaled_job, job)
        except (RuntimeError, ValueError, OSError) as error:  # of sbatch, or of an answer without a number
            # a job that was taken all the same holds the lock of its run, and the next one leaves it alone
            if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
                raise
            return Lost(f"sbatch: {_line(error)}", started=False)

    def _look(self, handle: Any) -> Outcome | Lost | None:
        if not (handle.paths.result_pickle.exists() or (state := self._state(handle)) in _ENDED):
            return self._doubt(handle, state)
        try:
            outcome = handle.result()
        except Exception as error:  # a file cut off or spoilt fails in many ways
            return Lost(f"{self._state(handle)}: {_line(error)}")
        return outcome if isinstance(outcome, Outcome) else Lost(f"its result is {outcome!r:.60}")

    def _state(self, handle: Any) -> str:
        """First word of a job's state; empty without a readable answer."""
        now = time.monotonic()
        if now < self._ask_again:
            return ""
        try:
            done = handle.done()
            state = (handle.state.upper().split() or [""])[0].rstrip("+")
        except (LookupError, ValueError, OSError):  # of taking apart what SLURM has said
            self._ask_again = now + _ASK_EVERY
            return ""
        if done and state not in _ENDED and now >= self._forget_again:
            self._forget_again = now + _ASK_EVERY
            handle.watcher.clear()  # submitit takes what it does not know for an end
        return state

    def _doubt(self, handle: Any, state: str) -> Lost | None:
        """Check a job that seems unfinished: it is lost where nothing is known for too long."""
        now = time.monotonic()
        if state in _ALIVE or handle.job_id not in self._heard:
            self._heard[handle.job_id] = now
        if now - self._heard[handle.job_id] <= self._patience:
            return None
        with suppress(OSError, subprocess.SubprocessError):
            handle.cancel(check=False)
        return Lost(f"SLURM has said nothing of job {handle.job_id} for {self._patience / 60:.0f} min")

    def close(self) -> None:
        """Cancel waiting and running jobs."""
        for handle in self._handles:
            with suppress(OSError, subprocess.SubprocessError):  # the others are cancelled all the same
                handle.cancel()
        self._running = []


def _line(error: Exception) -> str:
    """First 200 characters of a message of another program, in one line, unprintable ones escaped."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)[:200] or type(error).__name__
