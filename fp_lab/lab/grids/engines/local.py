"""Engine that runs several arms at once, in processes that last as long as the grid."""

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.grids.engines.journaled import run_journaled_job
from fp_lab.lab.grids.engines.restarting import Lost, RestartingEngine
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.planning.flops import costs_of
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runtime.device import device_of, lacks_gpu
from fp_lab.lab.runtime.process_pool import available_cores, exit_with_parent
from fp_lab.lab.runtime.reporter import Reporter


def workers_that_fit(arms: Sequence[ExperimentConfig]) -> int:
    """Number of arms that this machine can run at once without slowing each other.

    Limited by cores for their threads and memory for their models; 1 where an arm runs on a GPU.
    """
    if any(
        lacks_gpu(arm)  # refused where it runs, not where it is planned
        or device_of(arm).type != "cpu"
        or arm.training.ranks > 1
        for arm in arms
    ):
        return 1
    cores = available_cores() // max(arm.training.threads for arm in arms)
    memory = int(psutil.virtual_memory().available // max(costs_of(arm).memory for arm in arms))
    return max(1, min(len(arms), cores, memory))


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection


class Local(RestartingEngine[_Worker]):
    """Processes that each run one job after another.

    Args:
        workers: number of processes; the number of threads of each is part of an arm's config.
        cache: folder of materials that arms share.
    """

    on_this_machine = True

    def __init__(self, workers: int, cache: Path) -> None:
        super().__init__(workers)
        self._cache = cache
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    def _start(self, job: Job) -> _Worker:
        worker = self._idle.pop() if self._idle else self._new()
        worker.pipe.send(job)
        self._busy.append(worker)
        return worker

    def _look(self, handle: _Worker) -> Outcome | Lost | None:
        alive = handle.process.is_alive()
        try:
            if not handle.pipe.poll():
                return None if alive else self._lost(handle)
            outcome: Outcome = handle.pipe.recv()
        except (EOFError, ConnectionError):
            return self._lost(handle)
        self._busy.remove(handle)
        self._idle.append(handle)
        return outcome

    def close(self) -> None:
        """End idle workers and kill busy ones; their files stay and are resumed from."""
        for worker in self._busy:
            worker.process.kill()
        for worker in (*self._busy, *self._idle):
            worker.pipe.close()
            worker.process.join()
        self._busy, self._idle = [], []

    def _new(self) -> _Worker:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._cache), name="fp_lab arm")
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _lost(self, worker: _Worker) -> Lost:
        worker.process.join()
        self._busy.remove(worker)
        code = worker.process.exitcode or 0
        return Lost(f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}")


def _serve(pipe: Connection, cache: Path) -> None:
    """Run jobs in a worker until none is sent."""
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grid, which ends its workers
    materials = Materials(cache, Reporter())
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        pipe.send(run_journaled_job(job, materials))
