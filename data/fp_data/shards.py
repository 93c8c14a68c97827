"""A data set encoded once: shards of latents and conditions, and a manifest that says what made them.

A shard is a safetensors file with samples of one bucket and one length. `latents` are stacked, ``b c t h w``.
Conditions may differ in length between samples: they are joined along their first axis, and the header
holds the lengths, captions and sources.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from fp_data.buckets import Bucket
from fp_data.damaged import naming_damage, parse_json, set_aside
from fp_data.shard_manifest import MANIFEST, Manifest, Shard

HEADER = "samples"
_AGAIN = "run the command that made the cache again: it encodes only what is missing"


@dataclass(frozen=True)
class Sample:
    """One encoded clip.

    Attributes:
        latents: ``c t h w``.
        bucket: Size of the frames that were encoded, pixels.
        caption: What is seen, or "".
        source: Where the clip comes from, for people to find it again.
        conditions: Tensors by name, of one axis or more; the first axis may differ between samples.
    """

    latents: Tensor
    bucket: Bucket
    caption: str
    source: str
    conditions: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file of a cache, and what to do about it."""

    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}"


@dataclass(frozen=True)
class Place:
    """Where a sample lies: number of its shard, and its row there."""

    shard: int
    row: int


class Shards:
    """A complete cache, read sample by sample: only what is asked for leaves the disk.

    Attributes:
        folder: The cache.
        manifest: What it holds.

    Raises:
        ValueError: No cache, an incomplete one, or one with missing or cut-off shards (`check` looks closer).
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, Manifest.load(folder)
        if faults := tuple(_faults(folder, self.manifest, lambda _: None)):
            raise ValueError(
                f"the latent cache in {folder} cannot be used:\n  " + "\n  ".join(map(str, faults))
            )

    def __len__(self) -> int:
        return self.manifest.samples

    def read(self, places: Sequence[Place]) -> list[Sample]:
        """Samples in the order of their places; latents in the cache's dtype.

        Raises:
            ValueError: A shard cannot be read any more.
        """
        asked: dict[int, list[int]] = defaultdict(list)
        for position, place in enumerate(places):
            asked[place.shard].append(position)
        found: dict[int, Sample] = {}
        for number, positions in asked.items():
            rows = [places[position].row for position in positions]
            with self._opened(self.manifest.shards[number]) as file:
                found |= zip(positions, _rows(file, self.manifest.shards[number], rows), strict=True)
        return [found[position] for position in range(len(places))]

    def latents(self, at_once: int) -> Iterator[Tensor]:
        """All latents ``b c t h w`` without their conditions, up to so many samples of a shard at a time.

        Raises:
            ValueError: A shard cannot be read any more.
        """
        for shard in self.manifest.shards:
            for first in range(0, len(shard.indices), at_once):
                with self._opened(shard) as file:
                    part: Tensor = file.get_slice("latents")[first : first + at_once]
                yield part

    @contextmanager
    def _opened(self, shard: Shard) -> Iterator[Any]:
        path = self.folder / shard.file
        with naming_damage(path, "check the cache"), safe_open(path, "pt") as file:
            yield file


def check(folder: Path, progress: Callable[[str], None] | None = None) -> tuple[Fault, ...]:
    """Read every shard of a cache from end to end; all that is wrong, nothing if it is whole.

    Damaged shards are set aside, so that the command that made the cache makes them again.

    Args:
        folder: The cache.
        progress: Called with each shard's file name before it is read.

    Raises:
        ValueError: There is no manifest, or it cannot be read.
    """
    return tuple(_faults(folder, Manifest.load(folder), progress or (lambda _: None), contents=True))


def present(folder: Path, shard: Shard) -> bool:
    """Whether a shard's file is there, at its full size."""
    path = folder / shard.file
    return path.is_file() and path.stat().st_size == shard.size


def _rows(file: Any, shard: Shard, rows: Sequence[int]) -> Iterator[Sample]:
    header = parse_json(file.metadata()[HEADER])
    latents = file.get_slice("latents")
    conditions = {name: file.get_slice(name) for name in header["lengths"]}
    ends = {name: [0, *accumulate(lengths)] for name, lengths in header["lengths"].items()}
    for row in rows:
        own = {name: part[ends[name][row] : ends[name][row + 1]] for name, part in conditions.items()}
        caption, source = header["captions"][row], header["sources"][row]
        yield Sample(latents[row], shard.bucket, caption, source, own)


def _faults(
    folder: Path, manifest: Manifest, progress: Callable[[str], None], contents: bool = False
) -> Iterator[Fault]:
    if not manifest.complete:
        yield Fault(MANIFEST, f"only {manifest.samples} samples are encoded yet; {_AGAIN}")
    for shard in manifest.shards:
        progress(shard.file)
        path = folder / shard.file
        if not path.is_file():
            yield Fault(shard.file, f"is missing ({len(shard.indices)} samples); {_AGAIN}")
        elif not present(folder, shard):
            yield Fault(shard.file, f"has {path.stat().st_size} bytes, expected {shard.size}; {_AGAIN}")
        elif contents and (found := _sha256(path)) != shard.sha256:
            kept = set_aside(path).name
            problem = f"is damaged: sha256 {found}, expected {shard.sha256}; it is now {kept}; {_AGAIN}"
            yield Fault(shard.file, problem)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
