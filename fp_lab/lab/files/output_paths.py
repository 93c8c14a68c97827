"""Checks that results can be written, before hours of work instead of after."""

import os
from pathlib import Path
from tempfile import TemporaryFile

_LONGEST_NAME = 255  # bytes, of most file systems


def check_folder(what: str, folder: Path) -> Path:
    """Check that a folder can be written to or created; nothing is left there.

    Args:
        what: subject of the message.
        folder: folder as the user gave it.

    Raises:
        ValueError: a name is too long, a part of the path is no folder, or the system refuses to write.
    """
    for name in folder.parts:
        _check_length(what, name)
    nearest = next(place for place in (folder, *folder.parents, Path()) if os.path.lexists(place))
    try:
        with TemporaryFile(dir=nearest):  # permissions alone say nothing to root, or of /proc
            return folder
    except OSError as error:
        wanted = "a folder that can be written to, or can be made"
        raise ValueError(f"{what}: got {folder}, expected {wanted}; {nearest}: {error.strerror}") from error


def check_file(what: str, file: Path) -> Path:
    """Check that a file can be written: its folder can be, and nothing but a file is there.

    Returns:
        The file; of a link the file that it leads to, which is then written instead of the link.

    Raises:
        ValueError: the file or its folder cannot be written, see `check_folder`; or the name is taken by a
            folder, a device, a pipe, or a link that leads nowhere.
    """
    check_folder(what, file.parent)
    _check_length(what, file.name)
    if file.is_dir():
        raise ValueError(f"{what}: got {file}, expected the name of a file; it is a folder")
    if os.path.lexists(file) and not file.is_file():
        kind = "a link that leads nowhere" if file.is_symlink() and not file.exists() else "no regular file"
        raise ValueError(f"{what}: got {file}, expected the name of a file; it is {kind}")
    return file.resolve() if file.is_symlink() else file


def _check_length(what: str, name: str) -> None:
    if (length := len(os.fsencode(name))) > _LONGEST_NAME:
        raise ValueError(
            f"{what}: got a name of {length} bytes, {name[:24]!r} and so on; file systems take "
            f"{_LONGEST_NAME} at most"
        )
