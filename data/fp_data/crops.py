"""Single frames for training a codec: fresh renders of every world and random crops of real clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import IterableDataset

from fp_data.clips import probe, read_video
from fp_data.counts import check_counts
from fp_data.worlds import WorldConfig, render

WORLDS = (
    WorldConfig(frames=1),
    WorldConfig(frames=1, variant="walk"),
    WorldConfig(frames=20, variant="curtain"),
    WorldConfig(frames=1, variant="mnist"),
    WorldConfig(frames=1, variant="occlusion"),
    WorldConfig(frames=1, sprites=2),
)
"""What a codec has to know: every kind of picture that a world shows."""


@dataclass(frozen=True)
class CropsConfig:
    """A batch of codec training frames.

    Attributes:
        size: height and width, pixels.
        world: frames of the synthetic worlds per batch, of each kind in turn.
        real: crops of real clips per batch.
        every: keep every n-th frame of a clip in the pool.
        object_weight: further weight of the pixels of sprites and digits, which are hardest.
        short_side: clips are kept at this short side (if theirs is longer), pixels.
        held_out: share of each clip, its end, that is left out, as `ClipsConfig` does for evaluation.
    """

    size: int = 64
    world: int = 12
    real: int = 6
    every: int = 4
    short_side: int = 160
    object_weight: float = 0.0
    held_out: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what no batch can be made of."""
        check_counts(size=self.size, every=self.every, short_side=self.short_side)
        check_counts(0, world=self.world, real=self.real)


class Crops(TypedDict):
    """Frames ``n c h w`` in [-1, 1], and how much each pixel counts, ``n 1 h w``."""

    frames: Tensor
    weights: Tensor


class FrameCrops(IterableDataset[Crops]):
    """Endless batches; batch ``i`` depends on (seed, i) alone."""

    def __init__(self, config: CropsConfig, videos: Sequence[Path], seed: int, first_batch: int = 0) -> None:
        super().__init__()
        self.config, self.seed, self.first_batch = config, seed, first_batch
        self.pool = [frame for path in videos for frame in _frames(path, config)]
        if config.real and not self.pool:
            raise ValueError(
                f"codec training asks for {config.real} real crops per batch, but no clips were given"
            )

    def __iter__(self) -> Iterator[Crops]:
        """Yield batches, beginning at `first_batch` (for resuming)."""
        batch = self.first_batch
        while True:
            yield self.batch(batch)
            batch += 1

    def batch(self, index: int) -> Crops:
        """The batch of a given index."""
        config = self.config
        random = np.random.Generator(np.random.Philox(key=[self.seed, index]))
        seeds = random.integers(10_000, 2**62, size=config.world).tolist()
        pictures: list[Tensor] = []
        objects: list[Tensor] = []
        for kind, part in zip(WORLDS, (seeds[i :: len(WORLDS)] for i in range(len(WORLDS))), strict=True):
            if part:
                world = render(replace(kind, size=config.size), part)
                frame = int(random.integers(kind.frames))
                pictures.append(world.frames[:, frame].movedim(-1, 1).float())
                objects.append(world.masks[:, frame].any(1, keepdim=True).float())
        crops = [self._crop(random) for _ in range(config.real)]
        everywhere = torch.ones(len(crops), 1, config.size, config.size)
        weights = torch.cat((*(1 + config.object_weight * part for part in objects), everywhere))
        return Crops(frames=torch.cat((*pictures, *crops)) / 127.5 - 1, weights=weights)

    def _crop(self, random: np.random.Generator) -> Tensor:
        frame = self.pool[random.integers(len(self.pool))]
        height, width = frame.shape[:2]
        side = int(random.integers(self.config.size, min(height, width) + 1))
        top, left = random.integers(height - side + 1), random.integers(width - side + 1)
        crop = frame[top : top + side, left : left + side].movedim(-1, 0)[None].float()
        return F.interpolate(crop, (self.config.size, self.config.size), mode="bilinear", antialias=True)


def _frames(path: Path, config: CropsConfig) -> Iterator[Tensor]:
    """Every n-th frame before the held-out end, uint8 ``h w c``, its short side at most `short_side`."""
    length = probe(path).frames
    for index, array in enumerate(islice(read_video(path), length - round(length * config.held_out))):
        if index % config.every == 0:
            frame = torch.from_numpy(array)
            scale = config.short_side / min(frame.shape[:2])
            if scale < 1:
                size = [round(side * scale) for side in frame.shape[:2]]
                small = F.interpolate(
                    frame.movedim(-1, 0)[None].float(), size, mode="bilinear", antialias=True
                )
                frame = small[0].round().to(torch.uint8).movedim(0, -1)
            yield frame
