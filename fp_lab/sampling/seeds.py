"""Random numbers of sampling: each video from its own seed, the same in any batch, order and resumption."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

LEVEL = 100_003
"""Between the numbers of a context's levels: more than a video has sections, ten times less than `_VIDEO`."""
_VIDEO = 1_000_003  # between the numbers of videos
JITTER = -2 * LEVEL
"""Number of the rotary bases of a video; below 0, as the noise on its history, which is -1 - section."""


def generators(seeds: Sequence[int], number: int) -> list[Generator]:
    """One generator per video for a section, or another number; on the CPU, so that devices agree."""
    # far below 2^32: of a seed, torch takes the lower 32 bits alone
    return [Generator().manual_seed((seed * _VIDEO + number) % 2**63) for seed in seeds]


def seeded_noise(seeds: Sequence[int], number: int, shape: Sequence[int]) -> Tensor:
    """Noise of one section, or of another number: a draw of this shape from each video's own seed."""
    # a video's noise must not change with the batch that it is sampled in, nor when a rollout is resumed
    return torch.stack([torch.randn(*shape, generator=one) for one in generators(seeds, number)])
