"""Paired contrasts between arms, over the same prompts and video seeds, first minus second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fp_lab.lab.compare.paired_values import Panel
from fp_metrics.intervals import Interval, holm
from fp_metrics.significance import noncentrality

LEVEL = 0.95


@dataclass(frozen=True)
class Contrast:
    """A paired difference between two arms in one column.

    Attributes:
        first: name of the first arm.
        second: name of the second arm.
        column: compared column, such as ``anatomy``.
        difference: mean of first minus second over prompts, with its interval.
        p: two-sided p-value, see `fp_metrics.effects.Effects.p`; NaN without pairs.
        error: standard error of the difference.
        free: degrees of freedom of the test.
        adjusted: p-value adjusted by Holm over all contrasts made together.
    """

    first: str
    second: str
    column: str
    difference: Interval
    p: float
    error: float
    free: float
    adjusted: float = float("nan")

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 5 % after correction."""
        return bool(self.adjusted < 1 - LEVEL)

    def detectable(self, comparisons: int = 1) -> float:
        """Smallest true difference that would be found with a probability of 80 %.

        Args:
            comparisons: number of contrasts made together.
        """
        return self.error * noncentrality(self.free, level=LEVEL, comparisons=comparisons)


def contrasts(panel: Panel, pairs: Sequence[tuple[str, str]], column: str) -> list[Contrast]:
    """Compare pairs of arms, each on the videos that both have.

    Args:
        panel: panel of the metric; pairs with a missing arm are left out.
        pairs: pairs of arms.
        column: name of the compared column.
    """
    known = [pair for pair in pairs if panel.rows.keys() >= set(pair)]
    if not known:
        return []
    found = panel.differences(panel.of([one for one, _ in known]), panel.of([other for _, other in known]))
    figures = zip(found.p.tolist(), found.error.tolist(), found.free.tolist(), strict=True)
    return [
        Contrast(one, other, column, interval, *own)
        for (one, other), interval, own in zip(known, found.intervals(LEVEL), figures, strict=True)
    ]


def adjust(made: Sequence[Contrast]) -> list[Contrast]:
    """Adjust p-values by Holm over all contrasts."""
    adjusted = holm([c.p for c in made])
    return [replace(c, adjusted=float(p)) for c, p in zip(made, adjusted, strict=True)]
