"""One process at a time: locks on files, which the system lets go of when their holder dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class Busy(Exception):
    """Another process is at it."""


@contextmanager
def only_one(lock: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a lock while its body runs; its folder is made.

    Args:
        lock: file of the lock.
        wait: for another holder; otherwise `Busy` is raised.

    Raises:
        Busy: another process holds it, and `wait` is false.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=-1 if wait else 0):
            yield
    except Timeout as error:
        raise Busy(str(lock)) from error
