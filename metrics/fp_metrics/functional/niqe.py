"""NIQE: how far natural-scene statistics are from pristine ones. Grey levels are float32, 0 to 255."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.functional.natural_scene import (
    AGGD,
    RADIUS,
    SHAPES,
    by_bands,
    fit_aggd,
    gaussian_taps,
    neighbour_moments,
)

PATCH = 96
"""Pixels per side of a patch; half as many at half the size."""

LEAST_PATCHES = 2
"""A covariance needs two."""

TAPS = gaussian_taps((7 / 6) ** 2)

HALF_TAPS = (-3 / 256, -9 / 256, 29 / 256, 111 / 256, 111 / 256, 29 / 256, -9 / 256, -3 / 256)
"""Keys' cubic kernel (a = -0.5), twice as wide, at the eight pixels around the middle of two."""


@dataclass(frozen=True, eq=False)
class PristineModel:
    """Mean and covariance of the features of patches of undistorted photographs.

    Attributes:
        mean: float64 ``(36,)``.
        covariance: float64 ``(36, 36)``.
    """

    mean: Tensor
    covariance: Tensor

    @classmethod
    def load(cls, path: Path) -> "PristineModel":
        """Read the official parameters: a NumPy file with ``mu_pris_param`` and ``cov_pris_param``."""
        with np.load(path, allow_pickle=False) as found:
            mean, covariance = (torch.from_numpy(found[name]) for name in ("mu_pris_param", "cov_pris_param"))
        return cls(mean.double().flatten(), covariance.double())

    def to(self, device: torch.device) -> "PristineModel":
        """The same on a device."""
        return PristineModel(self.mean.to(device), self.covariance.to(device))


def studio_levels(frames: Tensor) -> Tensor:
    """Y of YCbCr of ``(n, 3, h, w)``, rounded: float32 ``(n, h, w)``, 16 to 235.

    Source: ITU-R BT.601 in studio range, https://www.itu.int/rec/R-REC-BT.601, as MATLAB's ``rgb2ycbcr``.
    """
    red, green, blue = frames.unbind(1)
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue).round()


def niqe(levels: Tensor, model: PristineModel) -> Tensor:
    """NIQE of ``(n, h, w)``: float64 ``(n,)``, at least 0, lower is better.

    ``sqrt((m - m')^T ((C + C') / 2)^+ (m - m'))`` with m, C of the model and m', C' of the picture's patches.
    A feature that a patch does not have is left out of m', and its patch of C'. NaN where fewer than two
    patches have all of them.

    Args:
        levels: whole grey levels, of `studio_levels`.
        model: of pristine photographs.

    Source:
        Mittal et al., "Making a 'completely blind' image quality analyzer", IEEE SPL 20 (2013), equation 10.
        The arithmetic is that of the authors' MATLAB release, as basicsr 1.4.2 repeats it.
    """
    features = niqe_features(levels)
    usable = features.isfinite().all(-1, keepdim=True)  # n patches 1
    count = usable.sum(1, keepdim=True)
    centre = (features.nan_to_num() * usable).sum(1, keepdim=True) / count
    spread = (features.nan_to_num() - centre) * usable
    covariance = spread.mT @ spread / (count - 1)
    enough = count.flatten() >= LEAST_PATCHES
    away = (features.nanmean(1, keepdim=True) - model.mean)[enough]  # n 1 36
    inverse = torch.linalg.pinv((model.covariance + covariance[enough]) / 2, hermitian=True)
    distance = features.new_full((len(levels),), torch.nan)
    distance[enough] = (away @ inverse @ away.mT).flatten().clamp(min=0).sqrt()
    return distance


def niqe_features(levels: Tensor) -> Tensor:
    """Features of each patch of 96x96 pixels of ``(n, h, w)``: float64 ``(n, patches, 36)``.

    At full and at half size, 18 each: shape and mean scale of the normalised picture; shape, mean and the two
    scales of the products of neighbours in a patch. What is left over below and to the right is cut off.
    Where a sign is missing, as in a flat patch, its scale and the mean are NaN, the shape is the least one.
    """
    rows, columns = (side // PATCH for side in levels.shape[-2:])
    if not rows * columns:
        return levels.new_zeros((len(levels), 0, 36), dtype=torch.float64)
    whole = levels[:, : rows * PATCH, : columns * PATCH]
    return torch.cat([_features(size, rows, columns) for size in (whole, half(whole))], -1)


def half(levels: Tensor) -> Tensor:
    """Half the size of ``(n, h, w)`` with even sides, as MATLAB's ``imresize(levels, 0.5)``.

    Antialiased cubic interpolation; beyond a border the picture is mirrored, its last pixel twice.
    """
    for axis in (-2, -1):
        start, end = levels.narrow(axis, 0, RADIUS), levels.narrow(axis, -RADIUS, RADIUS)
        around = torch.cat((start.flip(axis), levels, end.flip(axis)), axis).movedim(axis, 0)
        size = levels.shape[axis]
        halved = torch.zeros_like(around[:size:2])
        for first, tap in enumerate(HALF_TAPS):
            halved.add_(around[first : first + size : 2], alpha=tap)
        levels = halved.movedim(0, axis)
    return levels


def _features(levels: Tensor, rows: int, columns: int) -> Tensor:
    """The 18 features of one size, ``(n, rows * columns, 18)``."""
    around = F.pad(levels[:, None], (RADIUS,) * 4, mode="replicate")[:, 0]
    picture = by_bands(_normalised, around)
    tiles = picture.unflatten(1, (rows, -1)).unflatten(3, (columns, -1))
    found = neighbour_moments(tiles.transpose(2, 3).flatten(1, 2), "wrap")
    fit = fit_aggd(found)
    no_left, no_right = found[..., 1] == 0, found[..., 2] == 0
    fit = AGGD(
        # the official code looks for the shape nearest to NaN and gets the first one
        fit.shape.masked_fill(no_left | no_right, SHAPES[0]),
        fit.left.masked_fill(no_left, torch.nan),
        fit.right.masked_fill(no_right, torch.nan),
    )
    left, right = fit.scales
    own = torch.stack((fit.shape[..., 0], (left[..., 0] + right[..., 0]) / 2), -1)
    products = torch.stack((fit.shape, fit.mean, left, right), -1)[..., 1:, :]
    return torch.cat((own, products.flatten(-2)), -1)


def _normalised(padded: Tensor) -> Tensor:
    """``(x - mean) / (deviation + 1)`` of ``(n, h + 6, w + 6)``: equation 1, ``(n, h, w)``."""
    levels = padded[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
    mean, mean_square = _blurred(padded), _blurred(padded.square())
    deviation = mean_square.sub_(mean.square()).abs_().sqrt_()
    return levels.sub(mean).div_(deviation.add_(1))


def _blurred(padded: Tensor) -> Tensor:
    """Gaussian window over ``(n, h + 6, w + 6)``: ``(n, h, w)``, added up in float64, then float32."""
    blurred = padded.double()
    for axis in (-2, -1):
        exact, length = blurred, blurred.shape[axis] - 2 * RADIUS
        blurred = exact.narrow(axis, RADIUS, length) * TAPS[RADIUS]
        for start, tap in enumerate(TAPS):
            if start != RADIUS:
                blurred.add_(exact.narrow(axis, start, length), alpha=tap)
    return blurred.float()
