"""Rotary position phases, made at full resolution in float32 and pooled down to a level's grid.

"Full resolution" is the token grid of the base kernel (1, 2, 2). Angles separate over t, h and w, so
pooling a box of tokens is pooling each axis alone: nothing of full size is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fp_lab.packing.context import PhasePooling
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import Phases


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding over (t, h, w).

    Attributes:
        theta: base of the geometric frequencies.
        axes: channels of a head for each axis; all even, their sum is the head's width.
        time_bases: bases of the time axis, ``b heads``, where videos and heads have their own; None for
            `theta`.
    """

    theta: float = 256.0
    axes: tuple[int, int, int] = (16, 56, 56)
    time_bases: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Rotary channels come in pairs."""
        if any(axis % 2 or axis < 0 for axis in self.axes):
            raise ValueError(f"rope axes must be even, got {self.axes}")


def axis_angles(positions: Tensor, channels: int, theta: float | Tensor) -> Tensor:
    """Angles, float32, of positions (https://arxiv.org/abs/2104.09864, equation 15).

    Args:
        positions: ``b n``, or of any shape for a single base.
        channels: of the axis.
        theta: base, or bases ``b heads``.

    Returns:
        ``... channels/2``; with a base per head ``b n heads channels/2``.
    """
    # float32, as bfloat16 has no 257: neighbouring frames would share their phases
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=positions.device) / channels
    angles = positions.to(torch.float32)[..., None]
    if isinstance(theta, Tensor):
        return angles[..., None] / theta[:, None, :, None].to(angles) ** exponents
    return angles / theta**exponents


def pool_axis(values: Tensor, size: int, dim: int) -> Tensor:
    """Average groups of ``size`` along ``dim``; a last group that is not full repeats the last entry."""
    if size == 1:
        return values
    # phases are padded as the latents are, which the released code does to cos and sin too
    missing = -values.shape[dim] % size
    if missing:
        last = values.narrow(dim, values.shape[dim] - 1, 1)
        values = torch.cat(
            (values, last.expand(*(missing if i == dim else -1 for i in range(values.ndim)))), dim
        )
    return values.unflatten(dim, (-1, size)).mean(dim + 1)


@dataclass(frozen=True)
class Axis:
    """Positions along one axis and how they are pooled.

    Attributes:
        positions: ``b|1 n``, in tokens of the base kernel.
        pools: sizes of the pools, one after the other.
        weights: ``b n`` that sum to 1, for one average over all positions instead.
    """

    positions: Tensor
    pools: Sequence[int] = ()
    weights: Tensor | None = None

    @property
    def middle(self) -> Tensor:
        """Mean position of each pool, float32 ``b n``."""
        return self.pooled(self.positions.to(torch.float32)[..., None])[..., 0]

    def pooled(self, values: Tensor) -> Tensor:
        """Values ``b n ...`` of the positions, averaged over each pool."""
        if self.weights is not None:
            weights = self.weights.reshape(*self.weights.shape, *(1,) * (values.ndim - 2))
            return (weights * values).sum(1, keepdim=True)
        for size in self.pools:
            values = pool_axis(values, size, 1)
        return values


def phases(
    times: Tensor,
    rows: int,
    columns: int,
    kernel: Kernel,
    config: RopeConfig,
    pooling: PhasePooling = "averaged",
) -> Phases:
    """Phases of a level's tokens.

    Args:
        times: frame indices ``b t``, any integers (frames that are skipped leave theirs out).
        rows: latent rows of a frame.
        columns: latent columns of a frame.
        kernel: latent frames, rows and columns per token.
        config: frequencies.
        pooling: see `box_phases`.

    Returns:
        Phases ``b n k`` with n ordered t, h, w and k = sum(axes)/2.
    """
    height, width = view_axes(rows, columns, times.device)
    return box_phases(
        Axis(times, (kernel.t,)),
        Axis(height, (kernel.h // BASE.h,)),
        Axis(width, (kernel.w // BASE.w,)),
        config,
        pooling,
    )


def view_axes(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions ``1 h`` and ``1 w`` of base tokens in a frame of latents."""
    return (
        # base tokens for every kernel, so that coarse and fine tokens lie on one map
        torch.arange(-(-rows // BASE.h), device=device)[None],
        torch.arange(-(-columns // BASE.w), device=device)[None],
    )


def box_phases(t: Axis, h: Axis, w: Axis, config: RopeConfig, pooling: PhasePooling = "averaged") -> Phases:
    """Phases of boxes of tokens, the product of pools along each axis.

    Args:
        t: frames.
        h: rows.
        w: columns.
        config: frequencies.
        pooling: ``averaged``: cos and sin separately over each box; a pool of n at frequency f then scales
            the phasor by |sin(nf/2) / (n sin(f/2))|. ``midpoint``: unit phasors at the mean position.

    Returns:
        Phases ``b n k`` with n ordered t, h, w; ``b n heads k`` for bases per head.
    """
    cos, sin = [], []
    bases = (config.theta if config.time_bases is None else config.time_bases, config.theta, config.theta)
    with torch.autocast(t.positions.device.type, enabled=False):
        for axis, channels, base in zip((t, h, w), config.axes, bases, strict=True):
            if pooling == "midpoint":
                angles = axis_angles(axis.middle, channels, base)
                cos.append(angles.cos())
                sin.append(angles.sin())
            else:
                # as the released `center_down_sample_3d`: phasors of pooled tokens are shorter than 1
                angles = axis_angles(axis.positions, channels, base)
                cos.append(axis.pooled(angles.cos()))
                sin.append(axis.pooled(angles.sin()))
        return Phases(_box(*cos), _box(*sin))


def _box(t: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """Lay per-axis values ``b|1 n k`` out: ``b (t h w) (kt kh kw)``, with heads if t has them."""
    if t.ndim > h.ndim:
        h, w = h[:, :, None], w[:, :, None]
    grid = (len(t), t.shape[1], h.shape[1], w.shape[1], *t.shape[2:-1], -1)
    parts = (
        t[:, :, None, None].expand(grid),
        h[:, None, :, None].expand(grid),
        w[:, None, None, :].expand(grid),
    )
    return torch.cat(parts, -1).flatten(1, 3)


def rotate(x: Tensor, phase: Phases) -> Tensor:
    """Rotate heads ``b heads n (2 k)``: the first half of a head's channels pairs with the second."""
    cos, sin = (
        (part[:, None] if part.ndim == 3 else part.transpose(1, 2)).to(x.dtype)
        for part in (phase.cos, phase.sin)
    )
    # channel i pairs with i + k; with neighbours in `rotate_pairs`: weights know one pairing only
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)
