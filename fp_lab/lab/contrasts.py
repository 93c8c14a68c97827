"""Paired contrasts between arms: the same prompt and seeds, first minus second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from fp_metrics import Interval, holm, paired_interval
from fp_metrics.significance import paired_permutation

LEVEL = 0.95


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
    return Contrast(
        first,
        second,
        column,
        paired_interval(one, other, prompts, level=LEVEL),
        paired_permutation(one - other, prompts),
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
