"""Paired contrasts between arms: the same prompt and seeds, first minus second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fp_metrics import Interval, holm, paired_interval
from fp_metrics.statistics import cluster_means

LEVEL = 0.95
_PATTERNS = 2**17
_AT_ONCE = 2**13


@dataclass(frozen=True)
class Contrast:
    """A paired difference between two arms in one column.

    Attributes:
        first: arm.
        second: arm.
        column: what was compared, such as ``anatomy``.
        difference: mean of first minus second over prompts, with its interval.
        p: two-sided p-value of a sign-flip permutation test over prompts; NaN without pairs.
        adjusted: the same after Holm over all contrasts that were made together.
    """

    first: str
    second: str
    column: str
    difference: Interval
    p: float
    adjusted: float = float("nan")

    @property
    def significant(self) -> bool:
        """Whether the difference survives the correction at 5 %."""
        return bool(self.adjusted < 1 - LEVEL)


def contrast(values: pd.DataFrame, first: str, second: str, column: str) -> Contrast:
    """Compare two arms on the videos that both have.

    Args:
        values: `paired_values`.
        first: arm.
        second: arm.
        column: a name for what is compared.
    """
    both = values[[first, second]].dropna()
    prompts = list(both.index.get_level_values("cluster"))
    one, other = both[first].to_numpy(float), both[second].to_numpy(float)
    means = cluster_means(one - other, prompts)
    return Contrast(
        first, second, column, paired_interval(one, other, prompts, level=LEVEL), sign_flip(means)
    )


def adjust(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values adjusted by Holm, over all of them."""
    adjusted = holm([c.p for c in contrasts])
    return [replace(c, adjusted=float(p)) for c, p in zip(contrasts, adjusted, strict=True)]


def paired_values(videos: pd.DataFrame, column: str) -> pd.DataFrame:
    """One row per prompt, video seed and training seed, one column per arm.

    Args:
        videos: rows of one estimator and history, with a column ``cluster`` (see `summary.clusters`).
        column: of `videos`.
    """
    return videos.pivot(index=["cluster", "seed", "training_seed"], columns="arm", values=column)


def sign_flip(differences: NDArray[np.float64], seed: int = 0) -> float:
    """Two-sided p-value that paired differences ``(k,)`` are symmetric about 0; NaN without any.

    Every sign pattern where there are at most 2^17, else 2^17 - 1 random ones; the observed one counts.
    The smallest p-value is then below 1e-5 from 17 differences on: Holm over thousands of contrasts can still
    find one.

    Source:
        Fisher, "The design of experiments" (1935), section 21; Phipson & Smyth 2010 for the count.
    """
    count = len(differences)
    if not count:
        return float("nan")
    observed = abs(differences.sum()) * (1 - 1e-9)
    if 2**count <= _PATTERNS:
        return float((np.abs(_every_pattern(count) @ differences) >= observed).mean())
    random, exceeding = np.random.default_rng(seed), 1
    for flips in (_AT_ONCE,) * (_PATTERNS // _AT_ONCE - 1) + (_AT_ONCE - 1,):
        signs = 1 - 2 * random.integers(0, 2, (flips, count), dtype=np.int8)
        exceeding += int((np.abs(signs @ differences) >= observed).sum())
    return exceeding / _PATTERNS


@lru_cache(maxsize=2)
def _every_pattern(count: int) -> NDArray[np.float64]:
    """All patterns of signs, ``2^count count``."""
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return 1 - 2 * bits.astype(np.float64)
