import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from fp_lab.lab.files.locking import Busy, only_one


def hold(path: Path, held: Event) -> None:
    with only_one(path):
        held.set()
        signal.pause()


def test_a_lock_is_refused_to_others_and_let_go_by_the_dead(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / ".lock"
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    holder = context.Process(target=hold, args=(path, held))
    holder.start()
    assert held.wait(60)
    with pytest.raises(Busy), only_one(path, wait=False):
        pytest.fail("two have it")
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with only_one(path, wait=False):
        pass


def test_what_goes_wrong_inside_is_not_taken_for_a_lock_that_is_held(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="inside"), only_one(tmp_path / ".lock", wait=False):
        raise TimeoutError("inside")
    with only_one(tmp_path / ".lock", wait=False):
        pass
