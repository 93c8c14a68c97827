"""Seeded batches out of a latent cache, each of one bucket, the same under any number of workers."""

import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset, get_worker_info

from fp_data.batch_share import Share
from fp_data.shards import Place, Shards


class BucketBatch(TypedDict):
    """Samples of one bucket and one length.

    Attributes:
        latents: Float32 ``b c t h w``, whatever they are stored as.
        captions: One per sample.
        sources: Where each sample comes from.
        conditions: By name, ``b l …`` in the dtype they are stored in; zeros behind the shorter ones.
        lengths: How much of each condition is its own, by the same names: int64 ``b``.
    """

    latents: Tensor
    captions: list[str]
    sources: list[str]
    conditions: dict[str, Tensor]
    lengths: dict[str, Tensor]


class BucketedBatches(IterableDataset[BucketBatch]):
    """Endless batches; batch ``i`` depends on (seed, i) alone, so training resumes where it stopped.

    An epoch is `per_epoch` batches: each sample once, but for the remainder of each bucket that fills no
    batch; every epoch leaves out others. The epoch follows from ``i``, so no worker needs to be told of it.
    Workers take turns: `DataLoader(batches, batch_size=None, num_workers=…)` gives the sequence that one
    process would give. Ranks that train together share each batch: every one takes an equal part of it.

    Args:
        shards: To draw from.
        size: Of a batch, over all ranks.
        seed: Of the order.
        rank: Whose part is delivered.
        ranks: How many share a batch.
        first_batch: Where to begin.

    Raises:
        ValueError: A batch that cannot be shared equally, a rank that does not exist, or no bucket that
            fills a batch.
    """

    def __init__(
        self,
        shards: Shards,
        size: int,
        seed: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        first_batch: int = 0,
    ) -> None:
        super().__init__()
        self.shards, self.size, self.seed, self.first_batch = shards, size, seed, first_batch
        self.share = Share(size, rank, ranks)
        self._groups = _groups(shards)
        self._plan_of: tuple[int, np.ndarray] | None = None
        if not self.per_epoch:
            raise ValueError(
                f"no bucket of {shards.folder} holds a batch of {size}; the largest has "
                f"{max(map(len, self._groups.values()))} samples"
            )
        for bucket, places in self._groups.items():
            if len(places) < size:
                warnings.warn(
                    f"{bucket}: {len(places)} samples, fewer than a batch of {size}, are never delivered",
                    stacklevel=2,
                )

    @property
    def per_epoch(self) -> int:
        """Batches of an epoch."""
        return sum(len(places) // self.size for places in self._groups.values())

    def __iter__(self) -> Iterator[BucketBatch]:
        """Yield batches from `first_batch` on; in a worker, those that are its turn."""
        worker = get_worker_info()
        index, step = self.first_batch, 1
        if worker is not None:
            index, step = index + worker.id, worker.num_workers
        while True:
            yield self.batch(index)
            index += step

    def batch(self, index: int) -> BucketBatch:
        """This rank's part of the batch of a given index."""
        epoch, position = divmod(index, self.per_epoch)
        if self._plan_of is None or self._plan_of[0] != epoch:
            self._plan_of = epoch, self._plan(epoch)
        part = self.share.of(self._plan_of[1][position])
        samples = self.shards.read([Place(shard, row) for shard, row in part.tolist()])
        conditions = {name: [sample.conditions[name] for sample in samples] for name in samples[0].conditions}
        return BucketBatch(
            latents=torch.stack([sample.latents for sample in samples]).float(),
            captions=[sample.caption for sample in samples],
            sources=[sample.source for sample in samples],
            conditions={name: pad_sequence(parts, batch_first=True) for name, parts in conditions.items()},
            lengths={name: torch.tensor(list(map(len, parts))) for name, parts in conditions.items()},
        )

    def _plan(self, epoch: int) -> np.ndarray:
        """Shard and row of each sample of all batches of an epoch, over all ranks: ``batches size 2``."""
        random = np.random.default_rng([self.seed, epoch])
        batches = []
        for places in self._groups.values():
            whole = len(places) // self.size * self.size
            batches.append(random.permutation(places)[:whole].reshape(-1, self.size, 2))
        return random.permutation(np.concatenate(batches))


def _groups(shards: Shards) -> dict[str, np.ndarray]:
    """Shard and row of the samples of each bucket and length, ``n 2``."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for number, shard in enumerate(shards.manifest.shards):
        name = f"bucket {shard.bucket}, latents {'x'.join(map(str, shard.shape))}"
        found[name] += [(number, row) for row in range(len(shard.indices))]
    return {name: np.array(found[name]) for name in sorted(found)}
