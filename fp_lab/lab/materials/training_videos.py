"""Training videos of arms: encoded in memory, or read from a cache on disk as needed.

Workers that read ahead import this module, so it imports neither models nor lightning.
"""

import mmap
import multiprocessing
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, Protocol, TypedDict, runtime_checkable

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from fp_data.bucketed import BucketBatch, BucketedBatches
from fp_data.shards import Shards
from fp_lab.shapes import IMAGE, EncodedText

_AHEAD = 2
"""Number of batches that each worker reads ahead."""
_LONGEST_WAIT = 600.0
"""Seconds to wait for a batch before a training fails."""
_SHARED_MEMORY = Path("/dev/shm")


@runtime_checkable
class TrainingVideos(Protocol):
    """Encoded training videos: `fp_data.latents.LatentVideos` or `CachedVideos`."""

    @property
    def captions(self) -> Sequence[str]:
        """Captions to encode for a real model; none where embeddings come with the latents."""
        ...

    @property
    def shapes(self) -> Mapping[tuple[int, int, int], int]:
        """Shapes of latents (frames, rows, columns), and the number of videos of each."""
        ...

    def chunks(self, at_once: int) -> Iterable[Tensor]:
        """Yield all latents ``b c t h w``, up to `at_once` videos at a time; the same at every call."""
        ...

    def batches(
        self, size: int, seed: int, *, rank: int = 0, ranks: int = 1, first_batch: int = 0
    ) -> IterableDataset[Any]:
        """Yield endless batches; batch ``i`` depends on (seed, i) alone.

        Args:
            size: batch size over all ranks.
            seed: seed of the draws.
            rank: rank whose part is returned.
            ranks: number of ranks that share a batch.
            first_batch: index of the first batch.

        Raises:
            ValueError: the videos do not fill a batch, or it cannot be shared equally.
        """
        ...


class CachedBatch(TypedDict):
    """A `LatentBatch` from a cache: videos of one size, with captions as embeddings.

    Attributes:
        latents: latents of the videos, float32 ``b c t h w``.
        captions: embeddings of captions, one per video.
        sources: origin of each video.
        images: embeddings of first frames, float32 ``b i e``, for models that take them.
    """

    latents: Tensor
    captions: list[EncodedText]
    sources: list[str]
    images: NotRequired[Tensor]


class CachedBatches(IterableDataset[CachedBatch]):
    """Batches of a cache for training; their order does not depend on the number of workers.

    Args:
        batches: sampler of the cache's batches.
        images: whether the model takes embeddings of first frames.
    """

    def __init__(self, batches: BucketedBatches, images: bool) -> None:
        super().__init__()
        self.batches, self.images = batches, images

    def __iter__(self) -> Iterator[CachedBatch]:
        """Yield batches; in a worker, its share of them."""
        return map(self._as_told, self.batches)

    def batch(self, index: int) -> CachedBatch:
        """Return this rank's part of the batch with an index."""
        return self._as_told(self.batches.batch(index))

    def _as_told(self, batch: BucketBatch) -> CachedBatch:
        conditions, lengths = batch["conditions"], batch["lengths"]
        own = [
            {name: padded[row, : lengths[name][row]] for name, padded in conditions.items()}
            for row in range(len(batch["sources"]))
        ]
        told = CachedBatch(
            latents=batch["latents"],
            captions=[EncodedText.of(tensors) for tensors in own],
            sources=batch["sources"],
        )
        if self.images:
            told["images"] = conditions[IMAGE].float()
        return told


@dataclass(frozen=True)
class CachedVideos:
    """Training videos of a cache that fits the arm, see `fp_lab.lab.materials.training_cache.open_cache`.

    Attributes:
        shards: shards of the cache.
        images: whether the arm's model takes embeddings of first frames.
    """

    shards: Shards
    images: bool

    @property
    def captions(self) -> Sequence[str]:
        """No captions: their embeddings come with the latents."""
        return ()

    @property
    def shapes(self) -> Mapping[tuple[int, int, int], int]:
        """Shapes of latents (frames, rows, columns), and the number of videos of each."""
        return self.shards.manifest.shapes

    def chunks(self, at_once: int) -> Iterator[Tensor]:
        """Yield all latents, float32 ``b c t h w``, up to `at_once` videos of a shard at a time."""
        return (part.float() for part in self.shards.latents(at_once))

    def batches(
        self, size: int, seed: int, *, rank: int = 0, ranks: int = 1, first_batch: int = 0
    ) -> CachedBatches:
        """Yield seeded batches, each of videos of one size; arguments as for `BucketedBatches`."""
        drawn = BucketedBatches(self.shards, size, seed, rank=rank, ranks=ranks, first_batch=first_batch)
        return CachedBatches(drawn, self.images)


def data_loader(batches: IterableDataset[Any], workers: int = 0) -> DataLoader[Any]:
    """Return batches in order, read ahead by `workers` processes; 0: read when needed by this process.

    Raises:
        ValueError: shared memory is too small for what the processes read ahead.
    """
    if not workers:
        return DataLoader(batches, batch_size=None)
    _require_shared_memory(next(iter(batches)), workers)
    context = multiprocessing.get_context("forkserver")  # no copies of a process with threads and a GPU
    context.set_forkserver_preload([__name__])
    return DataLoader(
        batches, batch_size=None, num_workers=workers, multiprocessing_context=context,
        prefetch_factor=_AHEAD, timeout=_LONGEST_WAIT,
    )  # fmt: skip


def _require_shared_memory(batch: Mapping[str, Any], workers: int) -> None:
    """Check the size of shared memory; without room, workers would hang or be killed by the system."""
    if not _SHARED_MEMORY.is_dir():
        return
    needed, free = workers * _AHEAD * _shared_bytes(batch), shutil.disk_usage(_SHARED_MEMORY).free
    if needed > free:
        raise ValueError(
            f"training.workers: got {workers}, which read ahead {needed / 1e6:.1f} MB through "
            f"{_SHARED_MEMORY}, where {free / 1e6:.1f} MB are free; make it larger (docker run --shm-size), "
            "use fewer workers, or training.workers=0, which needs none"
        )


def _shared_bytes(batch: Mapping[str, Any]) -> int:
    """Bytes of a batch's tensors in shared memory, each in whole pages."""
    tensors = [part for part in batch.values() if isinstance(part, Tensor)]
    for caption in batch.get("captions", ()):
        tensors += caption.tensors.values() if isinstance(caption, EncodedText) else ()
    return sum(-(-tensor.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE for tensor in tensors)
