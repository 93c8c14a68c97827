"""What arms are trained on: videos that are encoded in memory, or a cache on disk, read as it is needed.

Workers that read ahead import this module: it needs neither models nor lightning.
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
"""Batches that each worker reads ahead."""
_LONGEST_WAIT = 600.0
"""Seconds for a batch, after which a training fails instead of waiting on."""
_SHARED_MEMORY = Path("/dev/shm")


@runtime_checkable
class TrainingVideos(Protocol):
    """Encoded training videos: `fp_data.latents.LatentVideos` or `CachedVideos`."""

    @property
    def captions(self) -> Sequence[str]:
        """That have to be encoded for a real model; none where embeddings come with the latents."""
        ...

    @property
    def shapes(self) -> Mapping[tuple[int, int, int], int]:
        """Frames, rows and columns of latents, and how many videos have them."""
        ...

    def chunks(self, at_once: int) -> Iterable[Tensor]:
        """All latents ``b c t h w``, up to so many videos at a time; the same at every call."""
        ...

    def batches(
        self, size: int, seed: int, *, rank: int = 0, ranks: int = 1, first_batch: int = 0
    ) -> IterableDataset[Any]:
        """Endless batches; batch ``i`` depends on (seed, i) alone.

        Args:
            size: of a batch, over all ranks.
            seed: of the draws.
            rank: whose part is delivered.
            ranks: how many share a batch.
            first_batch: where to begin.

        Raises:
            ValueError: a batch that the videos do not fill, or that cannot be shared equally.
        """
        ...


class CachedBatch(TypedDict):
    """A `LatentBatch` out of a cache: videos of one size, their captions as embeddings.

    Attributes:
        latents: float32 ``b c t h w``.
        captions: embeddings, one per video.
        sources: where each video comes from.
        images: embeddings of first frames, float32 ``b i e``, for models that take them.
    """

    latents: Tensor
    captions: list[EncodedText]
    sources: list[str]
    images: NotRequired[Tensor]


class CachedBatches(IterableDataset[CachedBatch]):
    """Batches of a cache as training consumes them; in their order, whoever reads them.

    Args:
        batches: of the cache.
        images: whether the model is told first frames.
    """

    def __init__(self, batches: BucketedBatches, images: bool) -> None:
        super().__init__()
        self.batches, self.images = batches, images

    def __iter__(self) -> Iterator[CachedBatch]:
        """Yield batches; in a worker, those that are its turn."""
        return map(self._as_told, self.batches)

    def batch(self, index: int) -> CachedBatch:
        """This rank's part of the batch of a given index."""
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
        shards: of the cache.
        images: whether the arm's model is told first frames.
    """

    shards: Shards
    images: bool

    @property
    def captions(self) -> Sequence[str]:
        """None: their embeddings come with the latents."""
        return ()

    @property
    def shapes(self) -> Mapping[tuple[int, int, int], int]:
        """Frames, rows and columns of latents, and how many videos have them."""
        return self.shards.manifest.shapes

    def chunks(self, at_once: int) -> Iterator[Tensor]:
        """All latents float32 ``b c t h w``, up to so many videos of a shard at a time."""
        return (part.float() for part in self.shards.latents(at_once))

    def batches(
        self, size: int, seed: int, *, rank: int = 0, ranks: int = 1, first_batch: int = 0
    ) -> CachedBatches:
        """Seeded batches of one size of videos each; arguments as of `BucketedBatches`."""
        drawn = BucketedBatches(self.shards, size, seed, rank=rank, ranks=ranks, first_batch=first_batch)
        return CachedBatches(drawn, self.images)


def data_loader(batches: IterableDataset[Any], workers: int = 0) -> DataLoader[Any]:
    """Batches in their order, read ahead by so many processes; 0: read when they are needed, by this one.

    Raises:
        ValueError: shared memory has no room for what the processes read ahead.
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
    """Without room there, workers wait for it without end, or are killed by the system."""
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
    """Of a batch's tensors in shared memory, each in whole pages."""
    tensors = [part for part in batch.values() if isinstance(part, Tensor)]
    for caption in batch.get("captions", ()):
        tensors += caption.tensors.values() if isinstance(caption, EncodedText) else ()
    return sum(-(-tensor.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE for tensor in tensors)
