"""Intervals and corrections for scores of videos that share prompts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEAST_CLUSTERS = 16
"""Below this many clusters a bootstrap interval is marked unreliable."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: mean over clusters of the cluster means; NaN without data.
        low: lower bound; NaN where one cluster or less gives no interval.
        high: upper bound.
        level: nominal coverage, for example 0.95.
        clusters: independent clusters behind it.
        reliable: whether there were at least `LEAST_CLUSTERS` of them.
    """

    mean: float
    low: float
    high: float
    level: float
    clusters: int
    reliable: bool

    def excludes(self, value: float) -> bool:
        """Whether the value lies outside the interval; False where there is none."""
        return bool(value < self.low or value > self.high)


def cluster_means(values: ArrayLike, clusters: Sequence[object] | None = None) -> NDArray[np.float64]:
    """Mean of the finite values of each cluster, ``(k,)``, clusters in order of appearance.

    Args:
        values: float ``(m,)``; NaN is left out.
        clusters: m labels of any hashable kind; None: each value is its own cluster.

    Raises:
        ValueError: when there is not one label per value.
    """
    data = np.asarray(values, dtype=np.float64)
    labels = list(range(len(data))) if clusters is None else list(clusters)
    if len(labels) != len(data):
        raise ValueError(f"got {len(labels)} cluster labels for {len(data)} values; give one per value")
    groups: dict[object, list[float]] = {}
    for label, value in zip(labels, data, strict=True):
        if np.isfinite(value):
            groups.setdefault(label, []).append(float(value))
    return np.array([np.mean(group) for group in groups.values()], dtype=np.float64)


def cluster_interval(
    values: ArrayLike,
    clusters: Sequence[object] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean over clusters with a BCa bootstrap interval that resamples whole clusters.

    Args:
        values: float ``(m,)``; NaN is left out.
        clusters: m labels; None: each value is its own cluster.
        level: nominal coverage in (0, 1).
        resamples: bootstrap resamples.
        seed: of the resampling; the same data and seed give the same bounds.

    Source:
        Efron, "Better bootstrap confidence intervals", JASA 82 (1987); `scipy.stats.bootstrap`.
    """
    means = cluster_means(values, clusters)
    count, reliable = len(means), len(means) >= LEAST_CLUSTERS
    nan = float("nan")
    if count < 2:
        return Interval(float(means[0]) if count else nan, nan, nan, level, count, reliable)
    mean = float(means.mean())
    if np.ptp(means) <= 1e-12 * max(1.0, abs(mean)):  # BCa's acceleration is 0/0 where all clusters agree
        return Interval(mean, mean, mean, level, count, reliable)
    # 2 values have too few distinct resamples for BCa's bias correction
    method = "BCa" if count > 2 else "percentile"
    bounds = stats.bootstrap(
        (means,),
        np.mean,
        confidence_level=level,
        n_resamples=resamples,
        method=method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(bounds.low), float(bounds.high), level, count, reliable)


def paired_interval(
    treated: ArrayLike,
    control: ArrayLike,
    clusters: Sequence[object] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean difference ``treated - control`` of pairs (same prompt, same seed).

    Pairs with a NaN on either side are left out. Arguments as in `cluster_interval`.

    Raises:
        ValueError: when the two sides differ in length.
    """
    first, second = np.asarray(treated, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"pairs need two sides of one length, got {first.shape} and {second.shape}")
    return cluster_interval(first - second, clusters, level=level, resamples=resamples, seed=seed)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Holm's step-down adjusted p-values, in the order given, in [0, 1].

    With p sorted ascending: ``p'_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))``.

    Args:
        p_values: ``(m,)`` in [0, 1]; NaN (not tested) stays NaN and does not count.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 6 (1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full_like(p, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    ascending = tested[np.argsort(p[tested], kind="stable")]
    steps = p[ascending] * np.arange(len(ascending), 0, -1)
    adjusted[ascending] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
