"""Natural-scene statistics: what NIQE and BRISQUE share.

A natural picture, less its local mean and over its local deviation, is close to normal, and neighbours
multiplied are close to an asymmetric generalised Gaussian. Distortions change these shapes.

How local means are rounded stays with each score (`niqe`, `brisque`): where a picture is flat, little is left
of the deviation but the rounding of the code that made the score's model.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.functional.colour import luma

RADIUS = 3
"""The Gaussian window of the local mean has 7x7 pixels."""

BAND = 2**16
"""Pixels that are worked on at once: a quarter of a megabyte."""

SHAPES = (0.2, 10.0, 0.001)
"""Shapes among which `fit_aggd` looks: from, to, step. The published codes have the same ones."""


@dataclass(frozen=True, eq=False)
class AGGD:
    """Asymmetric generalised Gaussians ``p(x) ~ exp(-(|x| / b)^shape)``, with one b on each side of 0.

    Attributes:
        shape: float64 ``(...)``; 2 for a normal distribution, 1 for a Laplacian. NaN where all x are 0.
        left: root mean square of the negative x; 0 where there are none.
        right: the same of the others.
    """

    shape: Tensor
    left: Tensor
    right: Tensor

    @property
    def scales(self) -> tuple[Tensor, Tensor]:
        """The b of the left and of the right side, ``deviation * sqrt(G(1 / shape) / G(3 / shape))``."""
        ratio = ((torch.lgamma(1 / self.shape) - torch.lgamma(3 / self.shape)) / 2).exp()
        return self.left * ratio, self.right * ratio

    @property
    def mean(self) -> Tensor:
        """``(b_right - b_left) * G(2 / shape) / G(1 / shape)``."""
        left, right = self.scales
        return (right - left) * (torch.lgamma(2 / self.shape) - torch.lgamma(1 / self.shape)).exp()


def grey_levels(frames: Tensor) -> Tensor:
    """Luma of ``(n, 3, h, w)`` in 8 bits, as the published codes get it: float32 ``(n, h, w)``, 0 to 255."""
    return (luma(frames) * 255).round()


def gaussian_taps(variance: float) -> list[float]:
    """The window's seven weights along one axis; they sum to 1."""
    taps = [math.exp(-0.5 * offset * offset / variance) for offset in range(-RADIUS, RADIUS + 1)]
    return [tap / sum(taps) for tap in taps]


def by_bands(work: Callable[[Tensor], Tensor], padded: Tensor) -> Tensor:
    """Some work on ``(n, h + 6, w + 6)`` that returns ``(n, h, w)``, a band of rows at a time.

    The result is the same; but what is made on the way stays in the processor's cache.
    """
    height = padded.shape[-2] - 2 * RADIUS
    bands = _bands(height, padded.numel() // padded.shape[-2])
    return torch.cat([work(padded[..., top : bottom + 2 * RADIUS, :]) for top, bottom in bands], -2)


def neighbour_moments(x: Tensor, border: Literal["zeros", "wrap"]) -> Tensor:
    """Moments of ``(n, m, h, w)`` and of its pixels times their neighbours: ``(n, m, 5, 7)``.

    The five are the picture itself; its pixels times the one to the left, above, above left, above right.

    Args:
        x: around 0.
        border: what the neighbours outside are: 0, or the pixels of the opposite border.
    """
    height, width = x.shape[-2:]
    around = F.pad(x, (1, 1, 1, 0), mode="constant" if border == "zeros" else "circular")
    total = x.new_zeros((*x.shape[:2], 5, 7), dtype=torch.float64)
    for top, bottom in _bands(height, x.numel() // height):
        band = x[..., top:bottom, :]
        found = [moments(band)]
        for down, right in ((1, 0), (0, 1), (0, 0), (0, 2)):
            found.append(moments(band * around[..., top + down : bottom + down, right : right + width]))
        total += torch.stack(found, -2)
    return total


def moments(x: Tensor) -> Tensor:
    """What `fit_aggd` needs to know of ``(..., h, w)``: float64 ``(..., 7)``.

    How many pixels there are, how many are negative and how many positive; the sum of all and of the negative
    ones; the sum of all squares and of those of the negative ones.
    """
    left = x.clamp(max=0)
    below, signs = -left.sign().sum(-1), x.sign().sum(-1)
    count = torch.full_like(below, x.shape[-1])
    sums = (count, below, signs + below, x.sum(-1), left.sum(-1), x.square().sum(-1), left.square().sum(-1))
    return torch.stack(sums, -1).sum(-2, dtype=torch.float64)  # rows in float32, their sum in float64


def fit_aggd(found: Tensor) -> AGGD:
    """Fit an `AGGD` to each of the `moments` ``(..., 7)``.

    The shape is the one of `SHAPES` whose ``G(2/a)^2 / (G(1/a) G(3/a))`` is nearest to
    ``(E|x|)^2 / E x^2 * (l^3 + r^3) (l + r) / (l^2 + r^2)^2``, with l and r the deviations of the two sides.
    A zero counts as a pixel of neither side.

    Source:
        Lasmar et al., "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009; section III-A
        of Mittal et al., "No-reference image quality assessment in the spatial domain", IEEE TIP 21 (2012).
    """
    pixels, below, above, total, negative, square, left_square = found.unbind(-1)
    left = (left_square / below.clamp(min=1)).sqrt()
    right = ((square - left_square).clamp(min=0) / above.clamp(min=1)).sqrt()
    skew = (left**3 + right**3) * (left + right) / (left.square() + right.square()).square()
    return AGGD(_nearest_shape((total - 2 * negative).square() / (pixels * square) * skew), left, right)


def _bands(height: int, pixels: int) -> list[tuple[int, int]]:
    """First and last row (not included) of bands of about `BAND` pixels, with so many pixels per row."""
    rows = max(1, BAND // pixels)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def _nearest_shape(ratio: Tensor) -> Tensor:
    """The shape whose moment ratio is nearest to each of ``(...)``; NaN for NaN."""
    shapes, ratios = (column.to(ratio.device) for column in _shape_table())
    upper = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(ratios) - 1)
    lower_is_nearer = ratio - ratios[upper - 1] <= ratios[upper] - ratio
    return torch.where(ratio.isnan(), ratio, shapes[upper - lower_is_nearer.long()])


@functools.cache
def _shape_table() -> tuple[Tensor, Tensor]:
    """Shapes and their moment ratios, both ascending."""
    start, stop, step = SHAPES
    shapes = start + step * torch.arange(round((stop - start) / step), dtype=torch.float64)
    ratios = 2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes)
    return shapes, ratios.exp()
