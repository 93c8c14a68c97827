"""Damaged files get another name: they are in nobody's way, and nothing is lost."""

from itertools import count
from pathlib import Path


class DamagedFile(ValueError):
    """A file that cannot be read as what it is; the message names it."""


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
