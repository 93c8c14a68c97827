"""Means and differences of scores over training seeds and prompts: the one engine of comparison.

What is drawn independently decides what a figure is about. With `LEAST_SEEDS` training seeds or more of
every arm, training seeds and prompts are both draws, and a figure is about the recipe. With fewer of any arm,
prompts alone are, and it is about these trained models. Figures that stand together need one basis: all that
are made at once have the same, and where they are made one after the other the caller decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fp_metrics.intervals import LEAST_CLUSTERS, LEAST_SEEDS, Interval, cluster_intervals
from fp_metrics.significance import noncentrality, paired_permutations

_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Effects:
    """Many means, or many differences of two arms; ``n`` of them.

    Attributes:
        by_prompt: ``(n, prompts)``, mean over training seeds, or difference of two; NaN without a pair.
        error: ``(n,)``, standard error of the mean; NaN below 2 prompts, or `LEAST_SEEDS` where seeds are
            draws.
        free: ``(n,)``, degrees of freedom behind it.
        over_seeds: whether training seeds are draws, beside prompts.
    """

    by_prompt: NDArray[np.float64]
    error: NDArray[np.float64]
    free: NDArray[np.float64]
    over_seeds: bool

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Prompts behind each, ``(n,)``."""
        return np.isfinite(self.by_prompt).sum(1)

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean over prompts, ``(n,)``; NaN without any."""
        return finite_mean(self.by_prompt, 1)

    @cached_property
    def reliable(self) -> NDArray[np.bool_]:
        """Whether each has `LEAST_CLUSTERS` prompts, and training seeds where they are draws, ``(n,)``."""
        return (self.clusters >= LEAST_CLUSTERS) & np.isfinite(self.error)

    def intervals(self, level: float = 0.95, *, resamples: int = 2000, seed: int = 0) -> list[Interval]:
        """An interval of each: Student's where training seeds are draws, else a BCa bootstrap over prompts.

        Args:
            level: nominal coverage in (0, 1).
            resamples: of the bootstrap.
            seed: of the bootstrap.
        """
        if not self.over_seeds:
            return cluster_intervals(self.by_prompt, level=level, resamples=resamples, seed=seed)
        half = special.stdtrit(self.free, (1 + level) / 2) * self.error
        columns = (self.mean, self.mean - half, self.mean + half, self.clusters, self.reliable)
        return [
            Interval(mean, low, high, level, count, reliable)
            for mean, low, high, count, reliable in zip(*(c.tolist() for c in columns), strict=True)
        ]

    @cached_property
    def p(self) -> NDArray[np.float64]:
        """Two-sided p-values of no effect, ``(n,)``; NaN without any pair, or without an `error` to test by.

        A t-test where training seeds are draws (permuting 3 against 3 cannot go below .1), else a sign-flip
        permutation test over prompts.
        """
        if not self.over_seeds:
            return paired_permutations(self.by_prompt)
        return np.minimum(self._beyond(np.abs(self.mean)) * 2, 1.0)

    def negligible(self, margin: ArrayLike) -> NDArray[np.float64]:
        """p-values of two one-sided t-tests (TOST) that effects lie within ``(-margin, margin)``, ``(n,)``.

        The margin is to be declared before looking. NaN below 2 prompts.

        Args:
            margin: above 0, in the score's unit; one, or one per effect.

        Raises:
            ValueError: for a margin that is not above 0.

        Source:
            Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987).
        """
        if not (np.asarray(margin) > 0).all():
            raise ValueError(f"got margin={margin!s}, expected a difference above 0 that would not matter")
        return self._beyond(np.asarray(margin) - np.abs(self.mean))

    def detectable(self, *, power: float = 0.8, level: float = 0.95, comparisons: int = 1) -> list[float]:
        """The smallest true effect that so many draws would find with this power, in the score's unit.

        Effects below it were not shown to be absent: there was too little to see them.

        Args:
            power: probability to find it, and with the right sign; from 0.5 up to below 1.
            level: 1 less the two-sided error of one test.
            comparisons: tests that share this error, at Holm's strictest step.

        Returns:
            One per effect: above 0; NaN below 2 prompts; 0 where all differences are equal.
        """
        return [
            error * noncentrality(free, power=power, level=level, comparisons=comparisons)
            for error, free in zip(self.error.tolist(), self.free.tolist(), strict=True)
        ]

    def _beyond(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that chance alone leads so far up: Student's tail."""
        certain = np.where(distance > 0, 0.0, np.where(distance < 0, 1.0, 0.5))
        with np.errstate(divide="ignore", invalid="ignore"):
            tail = special.stdtr(self.free, -distance / self.error)
        return np.where(self.error == 0, certain, np.where(np.isfinite(self.error), tail, np.nan))


def effects_of(
    first: ArrayLike, second: ArrayLike | None = None, *, over_seeds: bool | None = None
) -> Effects:
    """Means of arms over training seeds and prompts, or differences of pairs of arms on the same prompts.

    A score is modelled as ``mean + seed + prompt + rest``, all random, a prompt's effect the same for all
    training seeds of an arm. Then a mean over T seeds and P prompts has the variance
    ``seed / T + prompt / P + rest / (T P)``. The variance between means of seeds, over T, holds the first and
    the last term, that between means of prompts, over P, the second and the last; so their sum less the last
    term is taken, but not less than either (a component of variance is not negative), with Satterthwaite's
    degrees of freedom. Prompts are paired, training seeds are not: seed 0 of one arm has no more to do with
    seed 0 of another than with its seed 1, and where it has, the test is on the careful side.

    Of two equal recipes with 3 seeds and 16 prompts 3 to 5 % are then told apart at 5 %, whether trainings
    differ as much as videos, hardly, or much more in one recipe. (Pairing seeds instead leaves 2 degrees of
    freedom in the place of 4.) Where values are missing, means of seeds differ by their prompts too, which
    makes the error too large rather than too small.

    Args:
        first: ``(n, training seeds, prompts)``, NaN where there is no value; of one arm or more.
        second: the same of the arms that are subtracted; it may have other training seeds. A prompt counts
            that both have.
        over_seeds: whether training seeds are draws; None: where every arm here with two prompts has
            `LEAST_SEEDS`.

    Source:
        Clark, "The language-as-fixed-effect fallacy", J. Verbal Learning 12 (1973), for both kinds of draws;
        Satterthwaite, Biometrics Bulletin 2 (1946); Welch, Biometrika 34 (1947), for seeds of two arms,
        as Colas, Sigaud & Oudeyer, "How many random seeds?" (2018), advise.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (first, second) if side is not None]
    shared = np.logical_and.reduce([np.isfinite(side).any(1) for side in sides])
    sides = [np.where(shared[:, None], side, np.nan) for side in sides]
    largest = [np.abs(side).max((1, 2), initial=1.0, where=np.isfinite(side)) for side in sides]
    rounding = _ROUNDING * np.max(largest, axis=0)
    by_prompt = finite_mean(sides[0], 1)
    if len(sides) > 1:
        by_prompt = by_prompt - finite_mean(sides[1], 1)
    by_prompt = np.where(np.abs(by_prompt) <= rounding[:, None], 0.0, by_prompt)
    prompts, counts = _variance_of_mean(by_prompt, 1)
    draws = [_seeds(side) for side in sides]
    enough = np.logical_and.reduce([seeds >= LEAST_SEEDS for _, _, seeds in draws])
    if over_seeds is None:
        over_seeds = bool((counts > 1).any() and enough[counts > 1].all())
    seeds, rest = (np.sum([part[place] for part in draws], axis=0) for place in (0, 1))
    variance = np.maximum(prompts + seeds - rest, np.maximum(prompts, seeds))
    lost = prompts**2 / np.maximum(counts - 1, 1)
    lost += np.sum([own**2 / np.maximum(count - 1, 1) for own, _, count in draws], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        free = np.where(over_seeds & (lost > 0), variance**2 / lost, counts - 1.0)
    error = np.sqrt(np.where(enough, variance, np.nan) if over_seeds else prompts)
    error = np.where(error <= rounding, 0.0, error)
    return Effects(by_prompt, error, free, over_seeds)


def by_seed_and_prompt(
    values: ArrayLike, prompts: Sequence[object] | None = None, seeds: Sequence[object] | None = None
) -> NDArray[np.float64]:
    """Mean of the finite values of each training seed and prompt, as `effects_of` takes them.

    Args:
        values: ``(m,)``, of videos.
        prompts: m labels of any hashable kind; None: each value is its own.
        seeds: m labels; None: all are of one training.

    Returns:
        ``(training seeds, prompts)``, both in order of appearance; NaN without a value.

    Raises:
        ValueError: when there is not one label per value.
    """
    data = np.asarray(values, dtype=np.float64)
    places, shape = [], []
    for labels in (
        [0] * len(data) if seeds is None else seeds,
        range(len(data)) if prompts is None else prompts,
    ):
        if len(labels) != len(data):
            raise ValueError(f"got {len(labels)} labels for {len(data)} values; give one per value")
        codes = {label: code for code, label in enumerate(dict.fromkeys(labels))}
        places.append(np.array([codes[label] for label in labels], dtype=np.int64))
        shape.append(len(codes))
    known, (seed, prompt) = np.isfinite(data), places
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (seed[known], prompt[known]), data[known])
    np.add.at(counts, (seed[known], prompt[known]), 1)
    return np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)


def _seeds(side: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Variances of a mean from its training seeds and from what neither seed nor prompt explains; seeds."""
    by_seed, by_prompt = finite_mean(side, 2), finite_mean(side, 1)
    variance, count = _variance_of_mean(by_seed, 1)
    centre = finite_mean(by_seed, 1)
    left = side - by_seed[:, :, None] - by_prompt[:, None, :] + centre[:, None, None]
    known = np.isfinite(left)
    cells = known.sum((1, 2))
    free = cells - count - np.isfinite(by_prompt).sum(1) + 1
    squares = np.where(known, left, 0.0) ** 2
    return variance, squares.sum((1, 2)) / np.maximum(free, 1) / np.maximum(cells, 1), count


def finite_mean(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Mean of the finite values; NaN without any."""
    known = np.isfinite(values)
    counts = known.sum(axis)
    sums = np.where(known, values, 0.0).sum(axis)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _variance_of_mean(
    values: NDArray[np.float64], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Variance of the mean of the finite values, NaN below two of them; their number."""
    known = np.isfinite(values)
    counts = known.sum(axis)
    away = np.where(known, values - np.expand_dims(finite_mean(values, axis), axis), 0.0)
    squares, enough = (away**2).sum(axis), counts > 1
    return np.divide(squares, counts * (counts - 1), out=np.full(squares.shape, np.nan), where=enough), counts
