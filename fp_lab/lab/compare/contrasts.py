"""Paired contrasts between arms: the same prompts and video seeds, first minus second."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fp_lab.lab.compare.paired_values import Panel
from fp_metrics.significance import noncentrality
from fp_metrics.statistics import Interval, holm

LEVEL = 0.95


@dataclass(frozen=True)
class Contrast:
    """A paired difference between two arms in one column.

    Attributes:
        first: arm.
        second: arm.
        column: what was compared, such as ``anatomy``.
        difference: mean of first minus second over prompts, with its interval.
        p: two-sided, see `fp_metrics.effects.Effects.p`; NaN without pairs.
        error: standard error of the difference.
        free: degrees of freedom behind it.
        adjusted: p-value after Holm over all contrasts that were made together.
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
        """Whether the difference survives the correction at 5 %."""
        return bool(self.adjusted < 1 - LEVEL)

    def detectable(self, comparisons: int = 1) -> float:
        """The smallest true difference that would be found in four of five experiments.

        Args:
            comparisons: contrasts that were made together.
        """
        return self.error * noncentrality(self.free, level=LEVEL, comparisons=comparisons)


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
    found = panel.compared(panel.of([one for one, _ in known]), panel.of([other for _, other in known]))
    figures = zip(found.p.tolist(), found.error.tolist(), found.free.tolist(), strict=True)
    return [
        Contrast(one, other, column, interval, *own)
        for (one, other), interval, own in zip(known, found.intervals(LEVEL), figures, strict=True)
    ]


def adjust(made: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values adjusted by Holm, over all of them."""
    adjusted = holm([c.p for c in made])
    return [replace(c, adjusted=float(p)) for c, p in zip(made, adjusted, strict=True)]
