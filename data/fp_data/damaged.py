"""Damaged files get another name: they are in nobody's way, and nothing is lost."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from safetensors import SafetensorError


class DamagedFile(ValueError):
    """A file that cannot be read as what it is; the message names it.

    Args:
        path: the file.
        fault: what is wrong with it.
    """

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(path, fault)
        self.path, self.fault = path, fault

    def __str__(self) -> str:
        """The file and its fault."""
        return f"{self.path}: {self.fault}"


def damage_of(path: Path) -> str:
    """What is wrong with a file whose content nobody can read: it is empty, or damaged in another way."""
    empty = path.is_file() and not path.stat().st_size
    return "is damaged: it is empty" if empty else "is damaged: it is cut off, or not what it is called"


def set_aside(path: Path, folder: Path | None = None) -> Path:
    """Rename a damaged file or folder to ``<name>.damaged``, or ``<name>.2.damaged`` where that is taken.

    Args:
        path: what is damaged.
        folder: where to put it, by default where it is.

    Returns:
        Where it is now.
    """
    beside = path.parent if folder is None else folder
    place = beside / f"{path.name}.damaged"
    for number in count(2):
        if not place.exists():
            break
        place = beside / f"{path.name}.{number}.damaged"
    return path.rename(place)


def parse_json(text: str | bytes) -> Any:
    """The content of a JSON document.

    Raises:
        ValueError: it is none, or has brackets in brackets without end.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its brackets are nested too deeply") from None


_UNREADABLE = (SafetensorError, OSError, LookupError, TypeError, AttributeError, ValueError, OverflowError)


@contextmanager
def naming_damage(path: Path, advice: str = "") -> Iterator[None]:
    """Whatever goes wrong while a file's content is taken apart is said of the file.

    Args:
        path: the file.
        advice: what to do, for the end of the message.

    Raises:
        DamagedFile: it cannot be read, or lacks something, or has it in another form.
    """
    try:
        yield
    except DamagedFile:
        raise
    except _UNREADABLE as error:
        what = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise DamagedFile(path, f"{damage_of(path)} ({what}){advice and '; '}{advice}") from error


@contextmanager
def reading_format(path: Path, version: int, advice: str) -> Iterator[Any]:
    """The same of a JSON object that says by which version of its format it was written.

    Args:
        path: the file.
        version: that is understood.
        advice: what to do with a damaged one, for the end of the message.

    Yields:
        The object.

    Raises:
        DamagedFile: see `naming_damage`.
        ValueError: it is of another version.
    """
    with naming_damage(path, advice):
        stored = parse_json(path.read_bytes())
        found = stored["format"]
    if found != version:
        raise ValueError(f"{path}: has format {found!r}, expected {version}; encode the data anew")
    with naming_damage(path, advice):
        yield stored
