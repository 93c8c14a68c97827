"""File locks for one process at a time; the system releases them when their holder dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


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
