"""What the figures of a comparison are drawn over: one decision for its tables, verdict, claims and plots."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from fp_lab.lab.results.differing import listed
from fp_metrics.statistics import LEAST_SEEDS


@dataclass(frozen=True)
class Basis:
    """Whether training seeds are draws beside prompts: only where every arm has enough of them.

    One arm with fewer decides for all, or two tests would stand in one table and arms with fewer trainings
    would look more certain.

    Attributes:
        seeds: arm -> how many training seeds it has.
    """

    seeds: Mapping[str, int]

    @classmethod
    def of(cls, videos: pd.DataFrame, *within: str) -> "Basis":
        """Of rows with ``arm`` and ``training_seed``.

        Args:
            videos: one row per arm, training seed, video and estimator.
            within: columns, such as ``step``, within each of which arms are compared: the fewest seeds count.
        """
        counts = videos.groupby([*within, "arm"], observed=True, sort=False)["training_seed"].nunique()
        fewest = counts.groupby("arm", observed=True, sort=False).min()
        return cls({str(arm): int(count) for arm, count in fewest.items()})

    @property
    def over_seeds(self) -> bool:
        """Whether training seeds are draws."""
        return min(self.seeds.values(), default=0) >= LEAST_SEEDS

    @property
    def counts(self) -> str:
        """How many training seeds arms have: of all alike, or ``training seeds: 2 (one), 3 (other)``."""
        arms_of: dict[int, list[str]] = {}
        for arm, count in sorted(self.seeds.items(), key=lambda own: own[1]):
            arms_of.setdefault(count, []).append(arm)
        if len(arms_of) > 1:
            return "training seeds: " + ", ".join(f"{n} ({listed(arms)})" for n, arms in arms_of.items())
        count = next(iter(arms_of), 0)
        return f"{count} training seed{'' if count == 1 else 's'} per arm"

    @property
    def draws(self) -> str:
        """What intervals are over, for notes."""
        if self.over_seeds:
            return f"over training seeds and prompts, about the recipes ({self.counts})"
        return f"over prompts, about these trained models ({self.counts})"

    @property
    def test(self) -> str:
        """The test of a paired difference, for notes."""
        kind = "t-test over training seeds and" if self.over_seeds else "sign-flip permutation test over"
        return f"paired {kind} prompts"
