"""sha256 of files, each read again only when it has changed (standard library only)."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from fp_carriers import cache_folder
from fp_data.damaged import parse_json
from fp_lab.lab.files.atomic import write_text

REMEMBERED = "digests.json"
"""Name of the file in the cache folder that stores digests."""
_YOUNG = 2e9  # nanoseconds; a file system may give two changes so close to each other the same time

Digest = Callable[[Path], str]


@contextmanager
def file_digests(remembered: Path | None = None) -> Iterator[Digest]:
    """Yield a function from a file to the sha256 of its content; new digests are stored at the end.

    A file is read again when its size, inode, modification time or change time (of the inode) differ; the
    last one cannot be set back, unlike the modification time by ``cp -p`` and ``touch``. The function may be
    called from threads.

    Args:
        remembered: JSON file of stored digests, by default `REMEMBERED` in the cache folder; a damaged one is
            replaced.

    Raises:
        OSError: raised by the function for a file that cannot be read.
    """
    path = cache_folder() / REMEMBERED if remembered is None else remembered
    known, fresh = _load(path), dict[str, list[str]]()

    def digest(file: Path) -> str:
        name, state = os.path.abspath(file), _state(file)  # noqa: PTH100 - a link stays a link, and quick
        for found in (fresh.get(name), known.get(name)):
            if found and found[0] == state:
                return found[1]
        sha256 = _sha256(file)
        if state and _state(file) == state:
            fresh[name] = [state, sha256]
        return sha256

    try:
        yield digest
    finally:
        if fresh:
            _save(path, fresh)


def digests_of(files: Iterable[Path], remembered: Path | None = None) -> dict[Path, str]:
    """Return the sha256 of several files, see `file_digests`."""
    with file_digests(remembered) as digest:
        return {file: digest(file) for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _state(file: Path) -> str:
    """Fingerprint by which a file counts as unchanged; empty where it changed too recently to tell."""
    found = file.stat()
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) < _YOUNG:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _load(path: Path) -> dict[str, list[str]]:
    try:
        found = path.stat()
    except OSError:
        return {}
    return _parsed(path, (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=2)
def _parsed(path: Path, state: tuple[int, int, int]) -> dict[str, list[str]]:
    """Content of the digest file, parsed once per state of the file; not to be modified."""
    with suppress(OSError, ValueError):
        known = parse_json(path.read_bytes())
        if isinstance(known, dict):
            return {
                name: found for name, found in known.items() if isinstance(found, list) and len(found) == 2
            }
    return {}


def _save(path: Path, fresh: dict[str, list[str]]) -> None:
    """Merge new digests into the file, which other processes may have extended; drop files that are gone."""
    known = {name: found for name, found in _load(path).items() if Path(name).exists()} | fresh
    with suppress(OSError):
        write_text(path, json.dumps(known, indent=0) + "\n")
