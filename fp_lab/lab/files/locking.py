"""File locks for one process at a time; the system releases them when their holder dies."""

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK, _WRITER = ".writer.lock", ".writer"


class Busy(Exception):
    """Another process holds the lock."""


@contextmanager
def only_one(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock while the body runs; its folder is created.

    Args:
        lock: lock file.
        wait: whether to wait for another holder; otherwise `Busy` is raised.

    Raises:
        Busy: another process holds the lock, and `wait` is false.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=-1 if wait else 0):
            yield
    except Timeout as error:
        raise Busy(str(lock)) from error


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder while the body writes into it; the folder is created.

    Args:
        folder: output folder of a command.

    Raises:
        ValueError: another process writes into it; the message names that process.
    """
    writer = folder / _WRITER  # not in the lock itself, which the next process empties when it asks
    try:
        with only_one(folder / _LOCK, wait=False):
            command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
            writer.write_text(f"process {os.getpid()} on {platform.node()} ({command})", encoding="utf-8")
            try:
                yield
            finally:
                writer.unlink(missing_ok=True)
    except Busy:
        other = ""
        with suppress(OSError, ValueError):
            other = writer.read_text(encoding="utf-8")
        raise ValueError(
            f"{folder}: {other or 'another process'} writes into it; wait for it, or give another folder"
        ) from None
