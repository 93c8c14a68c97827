import multiprocessing
import os
import signal
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from fp_lab.lab.files.locking import Busy, only_one, only_writer


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


def write_into(folder: Path, held: Event) -> None:
    sys.argv = ["/usr/bin/fp-lab", "pretrain", "--to", "a b"]
    with only_writer(folder):
        held.set()
        signal.pause()


def test_a_second_writer_of_a_folder_is_refused_and_told_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    first = context.Process(target=write_into, args=(tmp_path / "out", held))
    first.start()
    assert held.wait(60)
    told = rf"^{tmp_path}/out: process {first.pid} on .* \(fp-lab pretrain --to 'a b'\) writes into it; wait"
    for _ in range(2):
        with pytest.raises(ValueError, match=told), only_writer(tmp_path / "out"):
            pytest.fail("two write")
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    with only_writer(tmp_path / "out"):
        pass
    with pytest.raises(KeyError), only_writer(tmp_path / "out"):
        raise KeyError("inside")
    with only_writer(tmp_path / "out"):
        pass
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == []
