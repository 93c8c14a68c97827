"""Bootstrap bounds of many means at once."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

_AT_ONCE = 256  # arms whose resamples are in memory together


def bca_bounds(values: NDArray[np.float64], level: float, resamples: int, seed: int) -> NDArray[np.float64]:
    """BCa bounds of the mean of each row, ``(rows, 2)``: `scipy.stats.bootstrap` with one matrix of draws.

    Args:
        values: ``(rows, k)``, finite, k at least 2; two values get percentile bounds.
        level: of confidence, in (0, 1).
        resamples: of each row.
        seed: of the draws.

    Source:
        Efron, "Better bootstrap confidence intervals", JASA 82 (1987).
    """
    weights = _weights(values.shape[1], resamples, seed)
    parts = np.split(values, range(_AT_ONCE, len(values), _AT_ONCE))
    return np.concatenate([_bca(part, weights, level) for part in parts])


@lru_cache(maxsize=8)
def _weights(count: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """How often each cluster is drawn in each resample, as a share: ``(resamples, count)``."""
    drawn = np.random.default_rng(seed).integers(0, count, (resamples, count))
    cells = drawn + count * np.arange(resamples)[:, None]
    times = np.bincount(cells.ravel(), minlength=resamples * count).reshape(resamples, count)
    return (times / count).astype(np.float32)


def _bca(values: NDArray[np.float64], weights: NDArray[np.float32], level: float) -> NDArray[np.float64]:
    """Bounds of the mean of each row; a row whose values agree has no width.

    Deviations from the mean are resampled in single precision, which moves a bound by 1e-7 of its distance,
    or by a rank where a resample ties with the sample.
    """
    mean = values.mean(1, keepdims=True)
    deviations = values - mean
    away = deviations.astype(np.float32) @ weights.T
    rounding = (3e-7 * np.abs(deviations).max(1, keepdims=True)).astype(np.float32)
    below = ((away < -rounding).mean(1) + (away <= rounding).mean(1)) / 2
    z = special.ndtri((1 + np.array([-level, level])) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):  # rows that agree are 0/0; they are replaced below
        acceleration = (deviations**3).sum(1) / (6 * (deviations**2).sum(1) ** 1.5)
        bias = special.ndtri(below)[:, None]
        tails = special.ndtr(bias + (bias + z) / (1 - acceleration[:, None] * (bias + z)))
    if values.shape[1] == 2:  # too few distinct resamples for a correction of the bias
        tails[:] = special.ndtr(z)
    agree = np.ptp(values, axis=1) <= 1e-12 * np.maximum(1.0, np.abs(mean[:, 0]))
    tails[agree], away[agree] = 0.5, 0.0
    away.sort(axis=1)
    place = tails * (away.shape[1] - 1)
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, away.shape[1] - 1)
    low, high = (np.take_along_axis(away, index, axis=1).astype(np.float64) for index in (lower, upper))
    bounds = mean + low + (high - low) * (place - lower)
    return np.clip(bounds, values.min(1, keepdims=True), values.max(1, keepdims=True))
