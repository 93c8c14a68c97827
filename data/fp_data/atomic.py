"""Files and folders that appear under their name only when they are complete and on the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

_READ_AND_WRITE = 0o666


@contextmanager
def replacing(path: Path, *, alone: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`, moved there on success and removed on failure; folders are made.

    What is moved is on the disk, and may be read by whom the umask says: safetensors makes files for their
    owner alone.

    Args:
        path: the file.
        alone: whether nobody else writes it now: what a killed process has left of it is then overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp" if alone else f".{os.getpid()}.{path.name}")
    try:
        unfinished.unlink(missing_ok=True)
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(mode)
        to_disk(unfinished)
        unfinished.replace(path)
        to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A temporary path for a folder, which becomes `path` on success and is removed on failure."""
    unfinished = path.with_name(f".{path.name}")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process has left
    try:
        yield unfinished
        _settle(unfinished)
        if path.exists():
            shutil.rmtree(path)
        unfinished.rename(path)
        to_disk(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def replacing_files(folder: Path) -> Iterator[Path]:
    """A temporary path for a folder, whose files are moved into `folder`, one by one, on success."""
    unfinished = folder / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        yield unfinished
        _settle(unfinished)
        for file in sorted(unfinished.iterdir()):
            file.replace(folder / file.name)
        to_disk(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Bring all of a folder to the disk, for those to read who may read the folder."""
    for place in folder.rglob("*"):
        if place.is_file():
            place.chmod(place.stat().st_mode | (folder.stat().st_mode & _READ_AND_WRITE))
        to_disk(place)
    to_disk(folder)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; not every file system can of folders."""
    place = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError) if path.is_dir() else nullcontext():
            os.fsync(place)
    finally:
        os.close(place)
