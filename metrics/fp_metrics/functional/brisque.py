"""BRISQUE: 36 natural-scene statistics and a regression. Grey levels are float32 ``(n, h, w)``, 0 to 255."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.functional.natural_scene import RADIUS, by_bands, fit_aggd, gaussian_taps, neighbour_moments

LEAST_SIDE = 16
"""Smaller frames have no statistics to speak of: less than eight pixels a side at half the size."""

TAPS = gaussian_taps((7 / 6) ** 2)

# fmt: off
LOWEST = (
    0.336999, 0.019667, 0.23, -0.125959, 0.000167, 0.000616, 0.231, -0.125873, 0.000165,
    0.0006, 0.241, -0.128814, 0.000179, 0.000386, 0.243, -0.13308, 0.000182, 0.000421,
    0.436998, 0.016929, 0.247, -0.200231, 0.000104, 0.000834, 0.257, -0.200017, 0.000112,
    0.000876, 0.257, -0.155072, 0.000112, 0.000356, 0.258, -0.154374, 0.000117, 0.000351,
)
HIGHEST = (
    9.999411, 0.807472, 1.644021, 0.202917, 0.712384, 0.468672, 1.644021, 0.169548, 0.713132,
    0.467896, 1.553016, 0.101368, 0.687324, 0.533087, 1.554016, 0.101, 0.689177, 0.533133,
    3.639918, 0.800955, 1.096995, 0.175286, 0.755547, 0.39927, 1.095995, 0.155928, 0.751488,
    0.402398, 1.041992, 0.093209, 0.623516, 0.532925, 1.042992, 0.093714, 0.621958, 0.534484,
)
# fmt: on
"""Ranges of the 36 features in training: min_ and max_ in models/normalize.pickle of brisque 0.2.0."""


def brisque_features(levels: Tensor) -> Tensor:
    """The 36 features of ``(n, h, w)``: float64 ``(n, 36)``; NaN for a flat picture.

    At full and at half size, 18 each: shape and variance of the normalised picture; shape, mean and the two
    variances of the products of neighbours (horizontal, vertical, both diagonals). They are the features of
    OpenCV's ``QualityBRISQUE::computeFeatures``, a port of the authors' C++ code. The regression that the
    package brisque carries was trained on those, not on the package's own: the shapes among the ends of its
    ranges lie on that code's grid of 0.001.

    Args:
        levels: whole grey levels.

    Source:
        Mittal et al., "No-reference image quality assessment in the spatial domain", IEEE TIP 21 (2012),
        table I; https://github.com/opencv/opencv_contrib (modules/quality).
    """
    grey = levels * (1 / 255)
    height, width = grey.shape[-2:]
    half = F.interpolate(grey[:, None], size=(height // 2, width // 2), mode="bicubic")[:, 0]
    features = torch.cat([_features(size) for size in (grey, half)], 1)
    pixels = levels.flatten(1)
    return features.masked_fill((pixels.amin(1) == pixels.amax(1))[:, None], torch.nan)


def brisque_score(features: Tensor, regression: Callable[[Tensor], Tensor]) -> Tensor:
    """Predicted difference of opinion scores of ``(n, 36)``: ``(n,)`` in [0, 100], lower is better.

    Args:
        features: of `brisque_features`.
        regression: ``(n, 36)`` -> ``(n,)``, of features whose ranges in training have become [-1, 1]. What it
            predicts outside of [0, 100] is cut off, as OpenCV does.
    """
    low, high = (features.new_tensor(ends) for ends in (LOWEST, HIGHEST))
    return regression(2 * (features - low) / (high - low) - 1).clamp(0, 100)


def _features(grey: Tensor) -> Tensor:
    """The 18 features of one size."""
    around = F.pad(grey[:, None], (RADIUS,) * 4, mode="replicate")[:, 0]
    picture = by_bands(_normalised, around)[:, None]
    fit = fit_aggd(neighbour_moments(picture, "zeros"))  # n 1 5
    left, right = fit.left.square(), fit.right.square()
    own = torch.stack((fit.shape, (left + right) / 2), -1)[:, 0, 0]
    products = torch.stack((fit.shape, fit.mean, left, right), -1)[:, 0, 1:]
    return torch.cat((own, products.flatten(1)), 1)


def _normalised(padded: Tensor) -> Tensor:
    """``(x - mean) / (deviation + 1 / 255)`` of ``(n, h + 6, w + 6)``: equations 1 to 3, ``(n, h, w)``."""
    grey = padded[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
    mean, mean_square = _blurred(padded), _blurred(padded.square())
    deviation = mean_square.sub_(mean.square()).sqrt_()
    # rounding makes the variance of flat areas negative, and OpenCV counts what is no number as 0
    return grey.sub(mean).div_(deviation.add_(1 / 255)).nan_to_num_(0)


def _blurred(padded: Tensor) -> Tensor:
    """Gaussian window over ``(n, h + 6, w + 6)``: ``(n, h, w)``, float32 taps added up in OpenCV's order."""
    height, width = padded.shape[-2] - 2 * RADIUS, padded.shape[-1] - 2 * RADIUS
    rows = padded[..., :width] * TAPS[0]
    for step, tap in enumerate(TAPS[1:], 1):
        rows.add_(padded[..., step : step + width], alpha=tap)
    blurred = rows[..., RADIUS : RADIUS + height, :] * TAPS[RADIUS]
    for step in range(1, RADIUS + 1):
        above, below = RADIUS - step, RADIUS + step
        pair = rows[..., above : above + height, :] + rows[..., below : below + height, :]
        blurred.add_(pair, alpha=TAPS[below])
    return blurred
