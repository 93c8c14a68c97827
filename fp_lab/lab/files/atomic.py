"""Atomic writes of text and JSON: a file appears under its name only when it is complete."""

import errno
from pathlib import Path
from typing import Any

from fp_data.atomic import replacing
from fp_data.damaged import DamagedFile, damage_of, parse_json

CANNOT_WRITE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
"""Error numbers of the system for a folder that cannot be written to."""


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 in one step; bytes of file names that are no UTF-8 are escaped."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def keep_text(path: Path, text: str) -> None:
    """Write text as `write_text` does, unless the file holds it already: its time stays."""
    if not path.is_file() or path.read_bytes() != text.encode(errors="backslashreplace"):
        write_text(path, text)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where there is no such file.

    Raises:
        ValueError: the file is damaged.
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
