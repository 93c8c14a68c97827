"""What a package carries, and where it is put."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Carrier:
    """One file of a package index.

    Attributes:
        package: Its name there.
        version: Exactly this one.
        sha256: Of the archive.
        size: Of the archive, bytes.
        backend: For an sdist, the build backend that its pyproject.toml names, "module" or "module:object";
            without a pyproject.toml it is "setuptools.build_meta:__legacy__" (PEP 517). "" for a wheel.
        python: For a wheel of one Python version, that version, such as "3.11". The same wheel is taken
            whatever Python asks for it, since none of its code runs; "" for a wheel of any.
        platform: For a wheel of one platform, its tag; "" for a wheel of any.
    """

    package: str
    version: str
    sha256: str
    size: int
    backend: str = ""
    python: str = ""
    platform: str = ""


@dataclass(frozen=True)
class CarriedFile:
    """One file inside a carrier.

    Attributes:
        name: The file's name here.
        carrier: Where it lies.
        member: Its path inside the carrier.
        sha256: Of the file.
        size: Of the file, bytes.
        licence: What it may be used under, and whose it is.
    """

    name: str
    carrier: Carrier
    member: str
    sha256: str
    size: int
    licence: str

    def __post_init__(self) -> None:
        """Refuse a name that would leave the destination."""
        if not self.name or self.name != Path(self.name).name or self.name == "..":
            raise ValueError(f"got the file name {self.name!r}, expected a plain one")


def cache_folder() -> Path:
    """Where downloads live: $FP_LAB_CACHE, else fp_lab under $XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("FP_LAB_CACHE"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fp_lab"


def is_whole(path: Path, file: CarriedFile) -> bool:
    """Whether the file lies there, size and sha256 as they should be."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
