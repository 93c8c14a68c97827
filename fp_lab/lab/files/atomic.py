"""Texts and records that appear under their name only when they are complete."""

import errno
from pathlib import Path
from typing import Any

from fp_data.atomic import replacing
from fp_data.damaged import DamagedFile, damage_of, parse_json

CANNOT_WRITE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
"""What the system says where a folder cannot be written to, whoever tries."""


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one step; of a strange file name in it bytes that are no UTF-8 are escaped."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def keep_text(path: Path, text: str) -> None:
    """The same, but a file that holds this text already stays as old as it is."""
    if not path.is_file() or path.read_bytes() != text.encode(errors="backslashreplace"):
        write_text(path, text)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        found = parse_json(path.read_bytes())
    except ValueError as error:
        raise DamagedFile(path, damage_of(path)) from error
    if not isinstance(found, dict):
        raise DamagedFile(path, damage_of(path))
    return found
