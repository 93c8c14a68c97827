"""Pool of processes for independent tasks; results do not depend on the number of processes."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any, TypeVar

import cv2
import torch

from fp_lab.registry import load_plugins, shared_plugins

Task = TypeVar("Task")
Result = TypeVar("Result")
Advance = Callable[[int], None]

_LOOK_EVERY = 0.2  # seconds between looks at how far the workers are
_counter: Any = None  # in a worker: how many frames all of them have done


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pooled(
    work: Callable[[Task, Advance], Result],
    tasks: Sequence[Task],
    *,
    workers: int | None = None,
    threads: int = 1,
    advance: Advance | None = None,
    preload: Sequence[str] = (),
    lost: Callable[[Task], Result] | None = None,
) -> Iterator[tuple[int, Result]]:
    """Do every task, and yield (index, result) as soon as it is done.

    A task whose worker is killed, by the system or by a crash in a library, is tried once more alone.

    Args:
        work: function of a module; it may call its second argument with the amount of work done since.
        tasks: picklable arguments of `work`, one per task.
        workers: number of processes; None: one per available core. With 1, this process does the work.
        threads: threads of torch and OpenCV per worker.
        advance: called in this process with the amount of work that all workers have done since.
        preload: modules to import before workers are forked.
        lost: result of a task whose worker is killed twice; None: an error instead.

    Raises:
        Exception: whatever `work` raises.
        BrokenProcessPool: a worker was killed twice at the same task, and there is no `lost`.
    """
    workers = min(available_cores() if workers is None else workers, len(tasks))
    if workers <= 1:
        before = torch.get_num_threads(), cv2.getNumThreads()
        _use_threads(threads)
        try:
            for index, task in enumerate(tasks):
                yield index, work(task, advance or _nothing)
        finally:
            torch.set_num_threads(before[0])
            cv2.setNumThreads(before[1])
        return
    left = dict(enumerate(tasks))
    while left:
        try:
            for index, result in _in_processes(work, left, workers, threads, advance, preload):
                del left[index]
                yield index, result
        except BrokenProcessPool:
            for index in list(left)[: workers + 1]:  # at work, or handed to a worker
                task = left.pop(index)
                yield index, _alone(work, task, threads, advance, preload, lost)


def _alone(
    work: Callable[[Task, Advance], Result],
    task: Task,
    threads: int,
    advance: Advance | None,
    preload: Sequence[str],
    lost: Callable[[Task], Result] | None,
) -> Result:
    try:
        ((_, result),) = _in_processes(work, {0: task}, 1, threads, advance, preload)
    except BrokenProcessPool:
        if lost is None:
            raise
        return lost(task)
    return result


def _in_processes(
    work: Callable[[Task, Advance], Result],
    tasks: Mapping[int, Task],
    workers: int,
    threads: int,
    advance: Advance | None,
    preload: Sequence[str],
) -> Iterator[tuple[int, Result]]:
    # a server that has torch loaded forks workers at once; forking this process would copy its threads' locks
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *preload])
    counter, told = context.Value("q", 0), 0
    with ProcessPoolExecutor(
        workers, context, initializer=_begin, initargs=(threads, counter, shared_plugins())
    ) as pool:
        waiting: dict[Future[Result], int] = {
            pool.submit(_run, work, task): index for index, task in tasks.items()
        }
        try:
            while waiting:
                done, _ = wait(waiting, timeout=_LOOK_EVERY, return_when=FIRST_COMPLETED)
                if advance and counter.value != told:
                    now = counter.value
                    advance(now - told)
                    told = now
                for future in done:
                    result = future.result()
                    yield waiting.pop(future), result
        finally:
            for future in waiting:
                future.cancel()


def exit_with_parent() -> None:
    """End this process when its parent is gone, for whatever reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _begin(threads: int, counter: Any, plugins: Sequence[str]) -> None:
    global _counter
    exit_with_parent()
    load_plugins(plugins)
    _counter = counter
    _use_threads(threads)


def _use_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _run(work: Callable[[Task, Advance], Result], task: Task) -> Result:
    return work(task, _count)


def _count(more: int) -> None:
    with _counter.get_lock():
        _counter.value += more


def _nothing(more: int) -> None:
    pass
