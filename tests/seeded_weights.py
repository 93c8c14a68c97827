"""Weights and pictures that anyone can make again from their names alone, in any program.

Reference figures in the tests were made by independent implementations that were filled with the same
numbers. NumPy promises that `RandomState` draws the same numbers forever.
"""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def seeded(name: str, like: Tensor) -> Tensor:
    """A tensor drawn from the CRC-32 of a name, scaled so that deep networks stay finite."""
    if not like.is_floating_point():
        return torch.zeros_like(like)
    draws = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(like.shape))
    normal = torch.from_numpy(draws.astype(np.float32))
    if name.endswith("running_var"):
        return 1 + 0.1 * normal.abs()
    if name.endswith("weight"):
        return normal / like[0].numel() ** 0.5 if like.ndim > 1 else 1 + 0.1 * normal
    return (0.5 if like.ndim > 1 else 0.1) * normal


def seeded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a state, each drawn from its name."""
    return {name: seeded(name, like) for name, like in state.items()}


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Coloured waves and noise: float32 ``(1, 3, height, width)`` in [0, 1]."""
    y, x = np.indices((height, width))
    waves = np.stack([np.sin(x / (7 + 3 * channel) + y / (11 + 2 * channel)) for channel in range(3)])
    noise = np.random.RandomState(seed).standard_normal((3, height, width))
    return torch.from_numpy(np.clip(0.5 + 0.3 * waves + 0.1 * noise, 0, 1).astype(np.float32))[None]
