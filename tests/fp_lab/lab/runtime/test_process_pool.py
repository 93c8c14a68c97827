"""Work over processes: the same results, and nobody is left when the parent dies."""

import multiprocessing
import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

import psutil
import pytest

from fp_lab.lab.runtime.process_pool import Advance, available_cores, pooled


def square(task: int, advance: Advance) -> int:
    advance(task)
    return task**2


def die_at_three(task: int, advance: Advance) -> int:
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task**2


def wait(task: int, advance: Advance) -> int:
    time.sleep(600)
    return 0


def who(task: int, advance: Advance) -> int:
    time.sleep(0.2)  # so that every worker gets some
    return os.getpid()


def work_for_long(pipe: Connection) -> None:
    """Tells who works, then works without end."""
    pipe.send([pid for _, pid in pooled(who, range(8), workers=2)])
    for _ in pooled(wait, range(2), workers=2):
        pass


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_progress_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    told: list[int] = []
    found = dict(pooled(square, range(6), workers=workers, advance=told.append))
    assert found == {index: index**2 for index in range(6)}
    assert sum(told) <= 15
    assert workers == 2 or sum(told) == 15


def test_workers_end_with_a_parent_that_was_killed() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    parent = context.Process(target=work_for_long, args=(theirs,))
    parent.start()
    assert ours.poll(120)
    ours.recv()
    time.sleep(1)
    assert parent.pid is not None
    below = psutil.Process(parent.pid).children(recursive=True)
    assert len(below) >= 3, "the forkserver and its workers"
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive


def test_cores_are_those_that_this_process_may_use() -> None:
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_a_task_that_kills_its_worker_twice_is_lost_and_the_others_are_done() -> None:
    found = dict(pooled(die_at_three, range(8), workers=2, lost=lambda task: -task))
    assert found == {index: -3 if index == 3 else index**2 for index in range(8)}
    with pytest.raises(BrokenProcessPool):
        dict(pooled(die_at_three, range(8), workers=2))
