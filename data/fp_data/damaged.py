"""Damaged files get another name: they are in nobody's way, and nothing is lost."""

from itertools import count
from pathlib import Path


class DamagedFile(ValueError):
    """A file that cannot be read as what it is; the message names it."""


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
