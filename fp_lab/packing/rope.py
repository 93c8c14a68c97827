"""Rotary position phases, made at full resolution in float32 and pooled down to a level's grid.

"Full resolution" is the token grid of the base kernel (1, 2, 2). Angles separate over t, h and w, so
pooling a box of tokens is pooling each axis alone: nothing of full size is ever made.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import Phases


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding over (t, h, w).

    Attributes:
        theta: base of the geometric frequencies.
        axes: channels of a head for each axis; all even, their sum is the head's width.
    """

    theta: float = 256.0
    axes: tuple[int, int, int] = (16, 56, 56)

    def __post_init__(self) -> None:
        """Rotary channels come in pairs."""
        if any(axis % 2 or axis < 0 for axis in self.axes):
            raise ValueError(f"rope axes must be even, got {self.axes}")


def axis_angles(positions: Tensor, channels: int, theta: float) -> Tensor:
    """Angles ``... channels/2``, float32, of positions (https://arxiv.org/abs/2104.09864, equation 15)."""
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=positions.device) / channels
    return positions.to(torch.float32)[..., None] / theta**exponents


def pool_axis(phases: Tensor, size: int, dim: int) -> Tensor:
    """Average groups of ``size`` along ``dim``; a last group that is not full repeats the last entry."""
    if size == 1:
        return phases
    missing = -phases.shape[dim] % size
    if missing:
        last = phases.narrow(dim, phases.shape[dim] - 1, 1)
        phases = torch.cat(
            (phases, last.expand(*(missing if i == dim else -1 for i in range(phases.ndim)))), dim
        )
    return phases.unflatten(dim, (-1, size)).mean(dim + 1)


def phases(times: Tensor, rows: int, columns: int, kernel: Kernel, config: RopeConfig) -> Phases:
    """Phases of a level's tokens.

    Args:
        times: frame indices ``b t``, any integers (frames that are skipped leave theirs out).
        rows: latent rows of a frame.
        columns: latent columns of a frame.
        kernel: latent frames, rows and columns per token.
        config: frequencies.

    Returns:
        cos and sin averaged separately over each token's box, ``b n k`` with n ordered t, h, w and
        k = sum(axes)/2. A pool of n at frequency f scales the phasor by |sin(nf/2) / (n sin(f/2))|.
    """
    row = torch.arange(-(-rows // BASE.h), device=times.device)[None]
    column = torch.arange(-(-columns // BASE.w), device=times.device)[None]
    sizes = (kernel.t, kernel.h // BASE.h, kernel.w // BASE.w)
    with torch.autocast(times.device.type, enabled=False):
        angles = [
            axis_angles(p, c, config.theta) for p, c in zip((times, row, column), config.axes, strict=True)
        ]
        cos = [pool_axis(a.cos(), size, 1) for a, size in zip(angles, sizes, strict=True)]
        sin = [pool_axis(a.sin(), size, 1) for a, size in zip(angles, sizes, strict=True)]
        return Phases(_box(*cos), _box(*sin))


def _box(t: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """Lay per-axis values ``b|1 n k`` out over the grid: ``b (t h w) (kt kh kw)``."""
    grid = (len(t), t.shape[1], h.shape[1], w.shape[1], -1)
    parts = (
        t[:, :, None, None].expand(grid),
        h[:, None, :, None].expand(grid),
        w[:, None, None, :].expand(grid),
    )
    return torch.cat(parts, -1).flatten(1, 3)


def rotate(x: Tensor, phase: Phases) -> Tensor:
    """Rotate heads ``b heads n (2 k)``: the first half of a head's channels pairs with the second."""
    cos, sin = phase.cos[:, None].to(x.dtype), phase.sin[:, None].to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)
