"""Paired contrasts between arms: the same prompt and seeds, first minus second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fp_lab.lab.panels import Panel
from fp_metrics.significance import paired_permutations
from fp_metrics.statistics import Interval, cluster_intervals, holm

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


def contrasts(panel: Panel, pairs: Sequence[tuple[str, str]], column: str) -> list[Contrast]:
    """Compare pairs of arms, each on the videos that both have.

    Args:
        panel: the figure; pairs of which it lacks an arm are left out.
        pairs: of arms.
        column: a name for what is compared.
    """
    known = [pair for pair in pairs if panel.rows.keys() >= set(pair)]
    if not known:
        return []
    differences = panel.differences([one for one, _ in known], [other for _, other in known])
    found = zip(
        known, cluster_intervals(differences, level=LEVEL), paired_permutations(differences), strict=True
    )
    return [Contrast(one, other, column, interval, float(p)) for (one, other), interval, p in found]


def adjust(made: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values adjusted by Holm, over all of them."""
    adjusted = holm([c.p for c in made])
    return [replace(c, adjusted=float(p)) for c, p in zip(made, adjusted, strict=True)]
