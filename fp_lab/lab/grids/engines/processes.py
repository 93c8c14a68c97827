"""Several arms at once, in processes of this machine that last as long as the grid."""

import multiprocessing
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import uses_diffusers_backbone
from fp_lab.lab.grids.engines.engine import Lost, RemoteEngine
from fp_lab.lab.grids.engines.journaled import run_journaled_job
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.process_pool import available_cores, exit_with_parent
from fp_lab.lab.runtime.reporter import Reporter

_MEMORY_OF_AN_ARM = 1.6e9
"""Bytes that an arm over a base of fp_lab's own needs at most: measured 1.3 GB at its largest."""


def workers_that_fit(arms: Sequence[ExperimentConfig]) -> int:
    """How many arms this machine can do at once without one slowing another.

    As many as it has cores for their threads and memory for their models; one where an arm runs on a GPU or
    starts from a transformer in diffusers' format.
    """
    if any(
        device_of(arm).type != "cpu" or uses_diffusers_backbone(arm) or arm.training.ranks > 1 for arm in arms
    ):
        return 1
    cores = available_cores() // max(arm.training.threads for arm in arms)
    memory = int(psutil.virtual_memory().available // _MEMORY_OF_AN_ARM)
    return max(1, min(len(arms), cores, memory))


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection


class Local(RemoteEngine[_Worker]):
    """Processes that do a job each, one after another.

    Args:
        workers: how many; how many threads each one uses is part of an arm's config.
        cache: what arms have in common on disk.
    """

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
        """Idle workers go home; busy ones are killed: what they have written stays, and is continued from."""
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
    """A worker: does jobs until nobody sends any."""
    exit_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the grid, which ends its workers
    materials = Materials(cache, Reporter())
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        pipe.send(run_journaled_job(job, materials))
