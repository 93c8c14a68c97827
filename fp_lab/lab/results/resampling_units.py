"""Units of resampling of a comparison: one choice for tables, verdict, claims and plots."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from fp_lab.lab.results.setting_differences import shortened
from fp_metrics.intervals import LEAST_SEEDS


@dataclass(frozen=True)
class ResamplingUnits:
    """Choice whether training seeds are draws beside prompts: only where every arm has enough of them.

    One arm with fewer decides for all; else one table would mix two tests, and arms with fewer trainings
    would look more certain.

    Attributes:
        seeds: arm -> number of training seeds.
    """

    seeds: Mapping[str, int]

    @classmethod
    def of(cls, videos: pd.DataFrame, *within: str) -> "ResamplingUnits":
        """Count the training seeds in rows with ``arm`` and ``training_seed``.

        Args:
            videos: one row per arm, training seed, video and estimator.
            within: columns, such as ``step``, within whose values arms are compared: the fewest seeds count.
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
        """Number of training seeds in words: one for all arms, or ``training seeds: 2 (one), 3 (other)``."""
        arms_of: dict[int, list[str]] = {}
        for arm, count in sorted(self.seeds.items(), key=lambda own: own[1]):
            arms_of.setdefault(count, []).append(arm)
        if len(arms_of) > 1:
            return "training seeds: " + ", ".join(f"{n} ({shortened(arms)})" for n, arms in arms_of.items())
        count = next(iter(arms_of), 0)
        return f"{count} training seed{'' if count == 1 else 's'} per arm"

    @property
    def draws(self) -> str:
        """Describe the draws behind intervals, for notes."""
        if self.over_seeds:
            return f"over training seeds and prompts, about the recipes ({self.counts})"
        return f"over prompts, about these trained models ({self.counts})"

    @property
    def test(self) -> str:
        """Describe the test of a paired difference, for notes."""
        kind = "t-test over training seeds and" if self.over_seeds else "sign-flip permutation test over"
        return f"paired {kind} prompts"
