"""Encode a data set into shards; each appears whole or not at all, so an interrupted run can go on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Literal, TypeVar

import torch
from filelock import FileLock, Timeout
from safetensors.torch import save
from torch import Tensor

from fp_data.atomic import replacing
from fp_data.buckets import Bucket
from fp_data.damaged import set_aside
from fp_data.shard_manifest import MANIFEST, Manifest, Moments, Origin, Shard
from fp_data.shards import HEADER, Sample, present

Clip = TypeVar("Clip")


@dataclass(frozen=True)
class Progress:
    """How far encoding is.

    Attributes:
        passed: Clips that are done with, those of an earlier run included.
        encoded: Clips that this run has encoded.
        shards: Shards that are on disk.
    """

    passed: int
    encoded: int
    shards: int


def write_shards(
    folder: Path,
    origin: Origin,
    clips: Iterable[Clip],
    encode: Callable[[Clip], Sample],
    *,
    dtype: Literal["float16", "bfloat16", "float32"] = "bfloat16",
    per_shard: int = 64,
    progress: Callable[[Progress], None] | None = None,
) -> Manifest:
    """Encode clips into a cache, or the rest of them into one that was begun.

    Clips in whole shards are not encoded again; those that do not fill a shard of their bucket yet wait in
    memory. So clips of one bucket, given one after the other, take least memory and lose least by an
    interruption.

    Args:
        folder: The cache; made if it is not there.
        origin: All that the content depends on, the clips and their order included.
        clips: What to encode, cheap to go through: the same in the same order each time.
        encode: One clip -> its latents and conditions; called for clips that are not yet in a whole shard.
        dtype: Of stored latents. Conditions are stored in their own.
        per_shard: Samples of a full shard.
        progress: Called after each clip.

    Returns:
        The manifest of the complete cache.

    Raises:
        ValueError: No clips or another number than before, a cache of another origin or in another process's
            hands, or a sample that cannot be stored.
    """
    if per_shard < 1:
        raise ValueError(f"got per_shard={per_shard}, expected 1 or more samples")
    with _alone(folder):
        # a manifest knows lists only: a tuple in the origin is no other origin
        stored = Origin(**json.loads(json.dumps(vars(origin))))
        writer = _Writer(folder, Manifest(stored, dtype, per_shard))
        passed = encoded = 0
        for clip in clips:
            if passed not in writer.done:
                writer.add(passed, encode(clip))
                encoded += 1
            passed += 1
            if progress:
                progress(Progress(passed, encoded, writer.on_disk))
        return writer.finish(passed)


class _Writer:
    """Gathers samples into shards.

    Attributes:
        manifest: As on disk.
        done: Samples in whole shards.
        lost: Samples of shards whose files are gone or cut off -> the shard's number.
    """

    def __init__(self, folder: Path, fresh: Manifest) -> None:
        self.folder = folder
        self.manifest = _continued(folder, fresh)
        self.done: set[int] = set()
        self.lost: dict[int, int] = {}
        for number, shard in enumerate(self.manifest.shards):
            if present(folder, shard):
                self.done.update(shard.indices)
            else:
                if (folder / shard.file).is_file():
                    set_aside(folder / shard.file)
                self.lost |= dict.fromkeys(shard.indices, number)
        self._dtype: torch.dtype = getattr(torch, fresh.dtype)
        self._waiting: dict[int | tuple[Bucket, torch.Size], dict[int, Sample]] = {}
        self._layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] | None = None

    @property
    def on_disk(self) -> int:
        """How many shards are whole."""
        return len(self.manifest.shards) - len(set(self.lost.values()))

    def add(self, index: int, sample: Sample) -> None:
        """Take a sample; write its shard if that is full now."""
        sample = self._stored(sample)
        shards = self.manifest.shards
        key: int | tuple[Bucket, torch.Size] = (sample.bucket, sample.latents.shape)
        number, full = len(shards), self.manifest.per_shard
        if index in self.lost:
            key = number = self.lost[index]
            full = len(shards[number].indices)
        waiting = self._waiting.setdefault(key, {})
        waiting[index] = sample
        if len(waiting) == full:
            self._write(number, self._waiting.pop(key))

    def finish(self, clips: int) -> Manifest:
        """Write what waits for a shard to fill up, by first sample, and declare the cache complete."""
        if not clips:
            raise ValueError(f"{self.folder}: got no clips to encode")
        samples = len(self.done.union(self.lost, *self._waiting.values()))
        if samples != clips:
            raise ValueError(
                f"{self.folder} holds {samples} samples, but there are {clips} clips; give those that "
                "the cache was begun with, or another folder"
            )
        assert not self.lost, "every clip has come, so every lost shard is full again"
        while self._waiting:
            self._write(len(self.manifest.shards), self._waiting.pop(next(iter(self._waiting))))
        self._save(replace(self.manifest, complete=True))
        return self.manifest

    def _stored(self, sample: Sample) -> Sample:
        """A sample as it will lie on disk."""
        if sample.latents.ndim != 4:
            raise ValueError(f"{sample.source}: got latents {tuple(sample.latents.shape)}, expected c t h w")
        latents = _on_disk(sample.latents).to(self._dtype)
        if not latents.isfinite().all():
            raise ValueError(
                f"{sample.source}: latents are not finite as {self._dtype}; "
                "look at the video and the encoder, or store them in bfloat16 or float32"
            )
        names, told = sorted(sample.conditions), sorted(self.manifest.origin.conditions)
        if names != told:
            raise ValueError(f"{sample.source}: got conditions {names}, the cache's origin names {told}")
        conditions = {name: _on_disk(sample.conditions[name]) for name in names}
        if flat := [name for name in names if not conditions[name].ndim]:
            raise ValueError(
                f"{sample.source}: got conditions {flat} without axes, expected one axis or more"
            )
        layout = {name: (value.dtype, tuple(value.shape[1:])) for name, value in conditions.items()}
        layout["latents"] = (latents.dtype, (len(latents),))
        self._layout = self._layout or layout
        if layout != self._layout:
            raise ValueError(
                f"{sample.source}: got {layout}, expected {self._layout} as of the clips before it: all need "
                "the same channels, and conditions that differ along their first axis only"
            )
        return replace(sample, latents=latents, conditions=conditions)

    def _write(self, number: int, samples: dict[int, Sample]) -> None:
        rows = list(samples.values())
        file = f"shard-{number:05}.safetensors"
        tensors = {"latents": torch.stack([row.latents for row in rows])}
        names = sorted(rows[0].conditions)
        tensors |= {name: torch.cat([row.conditions[name] for row in rows]) for name in names}
        header = {
            "captions": [row.caption for row in rows],
            "sources": [row.source for row in rows],
            "lengths": {name: [len(row.conditions[name]) for row in rows] for name in names},
        }
        # one key only: safetensors writes several in random order
        content = save(tensors, {HEADER: json.dumps(header)})
        with replacing(self.folder / file, alone=True) as unfinished:
            unfinished.write_bytes(content)
        sha256, size = hashlib.sha256(content).hexdigest(), len(content)
        moments = reduce(add, [Moments.of(row.latents) for row in rows])
        channels, frames, height, width = rows[0].latents.shape
        shape = (channels, frames, height, width)
        shard = Shard(file, sha256, size, rows[0].bucket, shape, tuple(samples), moments)
        shards = (*self.manifest.shards[:number], shard, *self.manifest.shards[number + 1 :])
        self._save(replace(self.manifest, shards=shards))
        self.done.update(samples)
        for index in samples:
            self.lost.pop(index, None)

    def _save(self, manifest: Manifest) -> None:
        with replacing(self.folder / MANIFEST, alone=True) as unfinished:
            unfinished.write_text(manifest.text(), encoding="utf-8")
        self.manifest = manifest


def _continued(folder: Path, fresh: Manifest) -> Manifest:
    """The manifest that a folder holds, if it is of the same origin and form; the fresh one if none."""
    if not (folder / MANIFEST).is_file():
        return fresh
    begun = Manifest.load(folder)
    wanted, there = (vars(m.origin) | {"dtype": m.dtype, "per_shard": m.per_shard} for m in (fresh, begun))
    other = [
        f"{name}: {there[name]!r} there, {wanted[name]!r} here"
        for name in wanted
        if there[name] != wanted[name]
    ]
    if other:
        raise ValueError(
            f"{folder} holds a cache that was made otherwise; give another folder, or delete this one:\n  "
            + "\n  ".join(other)
        )
    return begun


def _on_disk(tensor: Tensor) -> Tensor:
    # a part of a larger tensor would keep all of it in memory
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing the same cache."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another process is writing the cache in {folder}; wait for it to end") from error
    try:
        yield
    finally:
        lock.release()
