"""Decision rules: from paired differences to reproduced, not reproduced or inconclusive."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fp_lab.lab.claims.model import Difference, Outcome, Status
from fp_lab.lab.panels import Panel
from fp_metrics.significance import equivalence, smallest_detectable
from fp_metrics.statistics import LEAST_SEEDS, Interval, cluster_interval, nested_interval

LEVEL = 0.95
SMALL = 0.2
"""A difference of less than this share of the spread between prompts is negligible (Cohen's "small")."""
_RESAMPLES = 10_000

CONJUNCTION = (
    "reproduced when the 95 % interval of every difference agrees (all must hold, so none is corrected); not "
    "reproduced when one is opposed after Bonferroni's correction over them; else inconclusive"
)
EQUIVALENCE = (
    f"reproduced when two one-sided tests at 5 % put every difference within {SMALL} standard deviations "
    "between prompts (all must hold); not reproduced when a corrected 95 % interval lies outside; else "
    "inconclusive"
)


def mean_of(panel: Panel, arms: Sequence[str]) -> NDArray[np.float64]:
    """Mean over arms of each video, ``(videos,)``; NaN where one of them lacks it."""
    return np.mean(panel.values[[panel.rows[arm] for arm in arms]], axis=0)


def difference(panel: Panel, values: NDArray[np.float64], name: str, comparisons: int = 1) -> Difference:
    """An effect with its intervals: prompts are drawn, and training seeds where there are enough.

    Args:
        panel: that tells which prompt and training seed a video is of.
        values: the effect per video, ``(videos,)``; above 0 agrees with the claim.
        name: of the effect.
        comparisons: effects of the claim.
    """
    usual, strict = (_interval(panel, values, level) for level in (LEVEL, 1 - (1 - LEVEL) / comparisons))
    prompts = panel.prompt_of.tolist()
    detectable = smallest_detectable(values, prompts, comparisons=comparisons)
    certain, opposed = strict.low > 0, strict.high < 0
    bounds = usual.low, usual.high
    return Difference(name, usual.mean, *bounds, certain, opposed, detectable, usual.clusters)


def _interval(panel: Panel, values: NDArray[np.float64], level: float) -> Interval:
    prompts, options = panel.prompt_of.tolist(), {"level": level, "resamples": _RESAMPLES}
    seeds = panel.training_seed_of
    kwargs: dict[str, Any] = options
    if len(np.unique(seeds[np.isfinite(values)])) >= LEAST_SEEDS:
        return nested_interval(values, seeds.tolist(), prompts, **kwargs)
    return cluster_interval(values, prompts, **kwargs)


def all_hold(differences: Sequence[Difference]) -> Outcome:
    """See `CONJUNCTION`."""
    status: Status = "inconclusive"
    if any(one.opposed for one in differences):
        status = "not reproduced"
    elif differences and all(one.supported for one in differences):
        status = "reproduced"
    return Outcome(status, told(differences), tuple(differences))


def at_least(differences: Sequence[Difference], least: int, of: int) -> Outcome:
    """Whether at least so many of the differences hold.

    Args:
        differences: one per score, each to the strongest rival.
        least: how many the claim speaks of.
        of: scores that the claim counts; those that were not measured may hold or not.
    """
    surely = sum(one.certain for one in differences)
    possibly = of - sum(one.opposed for one in differences)
    status: Status = "inconclusive"
    if surely >= least:
        status = "reproduced"
    elif possibly < least:
        status = "not reproduced"
    words = f"between {surely} and {possibly} of {of}; {told(differences)}"
    return Outcome(status, words, tuple(differences))


def all_negligible(
    panels: Sequence[tuple[str, Panel, NDArray[np.float64], float]],
) -> Outcome:
    """See `EQUIVALENCE`.

    Args:
        panels: name, panel, difference per video ``(videos,)`` and margin of each effect.
    """
    found, equivalent, outside = [], [], []
    for name, panel, values, margin in panels:
        prompts = panel.prompt_of.tolist()
        test = equivalence(values, margin, prompts, level=LEVEL)
        strict = _interval(panel, values, 1 - (1 - LEVEL) / len(panels))
        equivalent.append(test.equivalent)
        outside.append(strict.low > margin or strict.high < -margin)
        one = difference(panel, values, f"{name} (margin {margin:.3g})", len(panels))
        found.append(one)
    status: Status = "inconclusive"
    if any(outside):
        status = "not reproduced"
    elif found and all(equivalent):
        status = "reproduced"
    words = f"{sum(equivalent)} of {len(found)} shown to be negligible; {told(found)}"
    return Outcome(status, words, tuple(found))


def resampled(
    panel: Panel, arms: Sequence[str], statistic: Callable[[NDArray[np.float64]], float], seed: int = 0
) -> tuple[float, float, float]:
    """A statistic of arms' means with its 95 % interval, prompts drawn for all arms together.

    Args:
        panel: the figure.
        arms: rows of it.
        statistic: of the means of the arms, ``(arms,)``.
        seed: of the resampling.
    """
    means = panel.by_prompt(panel.values[[panel.rows[arm] for arm in arms]])
    means = means[:, np.isfinite(means).all(0)]
    count = means.shape[1]
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=2000) / count
    low, high = np.quantile([statistic(row) for row in draws @ means.T], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return statistic(means.mean(1)), float(low), float(high)


def told(differences: Sequence[Difference]) -> str:
    """The effects in words, with what could have been seen where nothing was."""
    lines = [one.text for one in differences]
    unseen = [
        one.detectable
        for one in differences
        if not one.supported and not one.opposed and math.isfinite(one.detectable)
    ]
    if unseen:
        lines.append(f"smallest detectable up to {max(unseen):.3g}")
    return "; ".join(lines)
