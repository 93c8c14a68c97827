"""Tests of paired differences, their size, and what a number of prompts can tell apart at all.

All of them take differences of pairs (same prompt, same seed), average the seeds of a prompt, and treat
prompts as the independent draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from fp_metrics.intervals import cluster_means

_PATTERNS = 2**17
_AT_ONCE = 2**13
_CONTRASTS = 64  # sums of patterns and contrasts that stay in a cache: 4 MB


@dataclass(frozen=True)
class EffectSize:
    """How large a paired difference is against how much it varies between prompts.

    Attributes:
        dz: Cohen's d_z, ``mean / standard deviation`` of the differences; NaN below 2 clusters and where all
            differences are equal.
        hedges: the same without its upward bias in small samples.
        dominance: share of clusters with a difference above 0 less the share below 0, in [-1, 1]; Cliff's
            delta for pairs.
        clusters: independent clusters behind it.
        reason: why dz is undefined; None when it is defined.
    """

    dz: float
    hedges: float
    dominance: float
    clusters: int
    reason: str | None = None


def paired_permutation(
    differences: ArrayLike, clusters: Sequence[object] | None = None, *, seed: int = 0
) -> float:
    """Two-sided p-value that paired differences are symmetric about 0; NaN without any.

    Every pattern of signs where there are at most 2^17, else 2^17 - 1 random ones; the observed one counts.
    The smallest p-value is then below 1e-5 from 17 clusters on: Holm over thousands of contrasts can still
    find one.

    Args:
        differences: float ``(m,)``; NaN is left out.
        clusters: m labels, whose seeds are averaged; None: each difference is its own cluster.
        seed: of the random patterns.

    Source:
        Fisher, "The design of experiments" (1935), section 21; Phipson & Smyth, "Permutation p-values should
        never be zero" (2010), for the count.
    """
    means = cluster_means(differences, clusters)
    return float(paired_permutations(means[None], seed=seed)[0])


def paired_permutations(means: ArrayLike, *, seed: int = 0) -> NDArray[np.float64]:
    """The p-value of each of many contrasts, ``(contrasts,)``, as `paired_permutation` gives it.

    Args:
        means: float ``(contrasts, k)``: the mean difference of each cluster; NaN where there is no pair.
        seed: of the random patterns.
    """
    table = np.asarray(means, dtype=np.float64)
    known = np.isfinite(table)
    counts = known.sum(1)
    found = np.full(len(table), np.nan)
    for count in sorted({int(c) for c in counts} - {0}):
        rows = np.flatnonzero(counts == count)
        values = table[rows][known[rows]].reshape(len(rows), count)
        parts = np.split(values, range(_CONTRASTS, len(rows), _CONTRASTS))
        found[rows] = np.concatenate([_permuted(part, seed) for part in parts])
    return found


def least_p(clusters: int) -> float:
    """The smallest p-value that `paired_permutation` can give to so many clusters."""
    return max(2.0 ** (1 - clusters), 1 / _PATTERNS)


def _permuted(values: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    count = values.shape[1]
    observed = np.abs(values.sum(1)) * (1 - 1e-9)
    if 2**count <= _PATTERNS:
        patterns = _half_of_patterns(count)
        blocks = [patterns[first : first + _AT_ONCE] for first in range(0, len(patterns), _AT_ONCE)]
        return np.sum([_exceeding(block, values, observed) for block in blocks], axis=0) / len(patterns)
    random, exceeding = np.random.default_rng(seed), np.ones(len(values))
    for flips in (_AT_ONCE,) * (_PATTERNS // _AT_ONCE - 1) + (_AT_ONCE - 1,):
        signs = 1 - 2 * random.integers(0, 2, (flips, count), dtype=np.int8)
        exceeding += _exceeding(signs.astype(np.float64), values, observed)
    return exceeding / _PATTERNS


def _exceeding(
    signs: NDArray[np.float64], values: NDArray[np.float64], observed: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many patterns of signs make a sum as large as the observed one, per contrast."""
    sums = values @ signs.T
    return (np.abs(sums, out=sums) >= observed[:, None]).sum(1).astype(np.float64)


@lru_cache(maxsize=2)
def _half_of_patterns(count: int) -> NDArray[np.float64]:
    """Patterns of signs that begin with +, ``2^(count - 1) count``: the others make the same sums negated."""
    bits = (np.arange(2 ** (count - 1))[:, None] >> np.arange(count)[::-1]) & 1
    return 1 - 2 * bits.astype(np.float64)


def effect_size(differences: ArrayLike, clusters: Sequence[object] | None = None) -> EffectSize:
    """Size of a paired difference.

    Args:
        differences: float ``(m,)``; NaN is left out.
        clusters: m labels, whose seeds are averaged; None: each difference is its own cluster.

    Source:
        Cohen, "Statistical power analysis for the behavioral sciences" (1988), section 2.3.5; Hedges,
        "Distribution theory for Glass's estimator of effect size" (1981), for the exact correction
        ``Gamma(f/2) / (sqrt(f/2) Gamma((f-1)/2))``, f the degrees of freedom; Cliff, "Dominance statistics"
        (1993).
    """
    means = cluster_means(differences, clusters)
    count, nan = len(means), float("nan")
    if not count:
        return EffectSize(nan, nan, nan, 0, "no pair has both sides")
    dominance = float((means > 0).mean() - (means < 0).mean())
    if count < 2:
        return EffectSize(nan, nan, dominance, count, "needs at least 2 clusters, got 1")
    spread = _spread(means)
    if spread == 0:
        return EffectSize(nan, nan, dominance, count, "all differences are equal")
    dz, free = float(means.mean()) / spread, count - 1
    # f = 1 has no correction: Gamma(0) is infinite, Hedges' g is 0
    shrunk = math.exp(gammaln(free / 2) - gammaln((free - 1) / 2)) / math.sqrt(free / 2) if free > 1 else 0.0
    return EffectSize(dz, dz * shrunk, dominance, count)


def detectable(
    spread: float, clusters: int, *, power: float = 0.8, level: float = 0.95, comparisons: int = 1
) -> float:
    """The smallest true difference that so many clusters would find with this power: to plan an experiment.

    Args:
        spread: standard deviation between clusters.
        clusters: their number; below 2 the result is NaN.
        power: see `noncentrality`.
        level: see `noncentrality`.
        comparisons: see `noncentrality`.
    """
    found = noncentrality(clusters - 1, power=power, level=level, comparisons=comparisons)
    return found / math.sqrt(max(1, clusters)) * spread


def noncentrality(free: float, *, power: float = 0.8, level: float = 0.95, comparisons: int = 1) -> float:
    """How many standard errors off 0 an effect has to be for a t-test to find it that often.

    Args:
        free: degrees of freedom; below 1 the result is NaN.
        power: probability to find it, and with the right sign; from 0.5 up to below 1.
        level: 1 less the two-sided error of one test.
        comparisons: tests that share this error, at Holm's strictest step.

    Raises:
        ValueError: for another power.

    Source:
        Cohen (1988), chapter 2, by the noncentral t distribution. (`statsmodels.stats.power` solves the same,
        but misses the root where many comparisons share the error.)
    """
    from scipy import optimize, stats  # takes longer to import than a comparison to make

    if not 0.5 <= power < 1:
        raise ValueError(f"got power={power}, expected a probability of at least 0.5 and below 1")
    if not free >= 1:
        return float("nan")
    critical = float(stats.t.isf((1 - level) / comparisons / 2, free))

    def missing(shift: float) -> float:
        return power - float(stats.nct.sf(critical, free, shift))

    beyond = critical
    while missing(beyond) > 0:
        beyond *= 2
    return float(optimize.brentq(missing, 0, beyond))


def _spread(means: NDArray[np.float64]) -> float:
    """Standard deviation between clusters; NaN below two; 0 where they agree to rounding."""
    if len(means) < 2:
        return float("nan")
    agree = np.ptp(means) <= 1e-12 * max(1.0, float(np.abs(means).max()))
    return 0.0 if agree else float(means.std(ddof=1))
