"""What is known of a file of weights."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from fp_carriers import Carrier

Family = Literal["offline", "paper"]


@dataclass(frozen=True)
class OnPyPI:
    """Inside a package of a Python package index.

    Attributes:
        carrier: the package.
        member: path inside it.
    """

    carrier: Carrier
    member: str

    @property
    def file(self) -> str:
        """The file's name there."""
        return PurePosixPath(self.member).name

    @property
    def place(self) -> str:
        """Where, in short."""
        return f"PyPI: {self.carrier.package} {self.carrier.version}"

    def __str__(self) -> str:
        return f"{self.member} of {self.carrier.package} {self.carrier.version} on PyPI"


@dataclass(frozen=True)
class AtURL:
    """At an address.

    Attributes:
        url: https only.
    """

    url: str

    def __post_init__(self) -> None:
        """Refuse what an eavesdropper could change."""
        if urlsplit(self.url).scheme != "https":
            raise ValueError(f"got the address {self.url!r}, expected one that begins with https://")

    @property
    def file(self) -> str:
        """The file's name there."""
        return PurePosixPath(urlsplit(self.url).path).name

    @property
    def place(self) -> str:
        """Where, in short."""
        return urlsplit(self.url).netloc

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class OnHub:
    """In a repository of the Hugging Face hub.

    Attributes:
        repo: owner/name.
        file: path inside it.
        revision: commit.
    """

    repo: str
    file: str
    revision: str

    @property
    def place(self) -> str:
        """Where, in short."""
        return f"hub: {self.repo}"

    def __str__(self) -> str:
        return f"{self.file} of {self.repo} on the Hugging Face hub"


@dataclass(frozen=True)
class Artifact:
    """One file of weights.

    Attributes:
        name: how metrics ask for it.
        what: one line about it.
        licence: what it may be used under.
        size: bytes; to the nearest 1 % outside PyPI.
        sha256: of the file; its first 8 digits where no more are published.
        source: where it comes from.
        families: of estimators that need it.
    """

    name: str
    what: str
    licence: str
    size: int
    sha256: str
    source: OnPyPI | AtURL | OnHub
    families: tuple[Family, ...] = ("offline",)

    @property
    def file(self) -> str:
        """The file's name in the cache."""
        return self.name + PurePosixPath(self.source.file).suffix


def in_words(size: int) -> str:
    """A size for people: kB, MB or GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"
