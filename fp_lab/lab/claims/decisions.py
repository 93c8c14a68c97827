"""Decision rules from paired differences to reproduced, not reproduced or inconclusive."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fp_lab.lab.claims.claim import Difference, Outcome, Status
from fp_lab.lab.compare.paired_values import Panel
from fp_metrics.effects import finite_mean
from fp_metrics.intervals import LEAST_SEEDS, stretch

LEVEL = 0.95
SMALL = 0.2
"""Negligible difference, as a share of the standard deviation between prompts (Cohen's "small")."""
_RESAMPLES, _DRAWS = 10_000, 2_000

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
    """Average each video over arms, ``(training seeds, videos)``; NaN where an arm lacks it.

    Training seeds of arms are matched in order. Where they are no draws, each arm's are averaged first, so
    that arms may have different counts.
    """
    values = panel.of(arms)
    if len(arms) > 1 and not panel.over_seeds:
        values = finite_mean(values, 1)[:, None]
    lacking = ~np.isfinite(values).any(2)
    order = np.argsort(lacking, axis=1, kind="stable")
    return np.mean(np.take_along_axis(values, order[:, :, None], axis=1), axis=0)


def difference(
    panel: Panel,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    name: str,
    comparisons: int = 1,
) -> Difference:
    """Compute an effect with its intervals, see `fp_metrics.effects.effects_of`.

    Args:
        panel: panel with the prompt of each video.
        first: values per video, ``(training seeds, videos)``.
        second: values to subtract; a difference above 0 agrees with the claim.
        name: name of the effect.
        comparisons: number of effects of the claim.
    """
    found = panel.differences(first[None], second[None])
    (usual,) = found.intervals(LEVEL)  # as tables have it
    (strict,) = found.intervals(1 - (1 - LEVEL) / comparisons, resamples=_RESAMPLES)
    (detectable,) = found.detectable(comparisons=comparisons)
    certain, opposed = strict.low > 0, strict.high < 0
    return Difference(name, usual.mean, usual.low, usual.high, certain, opposed, detectable, usual.clusters)


def all_hold(differences: Sequence[Difference]) -> Outcome:
    """Decide by the rule `CONJUNCTION`."""
    status: Status = "inconclusive"
    if any(one.opposed for one in differences):
        status = "not reproduced"
    elif differences and all(one.supported for one in differences):
        status = "reproduced"
    return Outcome(status, in_words(differences), tuple(differences))


def at_least(differences: Sequence[Difference], least: int, of: int) -> Outcome:
    """Decide whether at least `least` of the differences hold.

    Args:
        differences: one difference per score, to the strongest rival.
        least: number that the claim names.
        of: number of scores that the claim counts; unmeasured ones may hold or not.
    """
    surely = sum(one.certain for one in differences)
    possibly = of - sum(one.opposed for one in differences)
    status: Status = "inconclusive"
    if surely >= least:
        status = "reproduced"
    elif possibly < least:
        status = "not reproduced"
    words = f"between {surely} and {possibly} of {of}; {in_words(differences)}"
    return Outcome(status, words, tuple(differences))


def all_negligible(
    panels: Sequence[tuple[str, Panel, NDArray[np.float64], NDArray[np.float64]]],
) -> Outcome:
    """Decide by the rule `EQUIVALENCE`; panels without spread between prompts or common videos are left out.

    Args:
        panels: name, panel, and values of both sides ``(training seeds, videos)``; the second gives the
            margin.
    """
    margins = [_margin(panel, first, second) for _, panel, first, second in panels]
    kept = [(*one, margin) for one, margin in zip(panels, margins, strict=True) if margin > 0]
    found, equivalent, outside = [], [], []
    for name, panel, first, second, margin in kept:
        both = panel.differences(first[None], second[None])
        equivalent.append(bool(both.negligible(margin)[0] < 1 - LEVEL))
        (strict,) = both.intervals(1 - (1 - LEVEL) / len(kept), resamples=_RESAMPLES)
        outside.append(strict.low > margin or strict.high < -margin)
        found.append(difference(panel, first, second, f"{name} (margin {margin:.3g})", len(kept)))
    status: Status = "inconclusive"
    if any(outside):
        status = "not reproduced"
    elif found and all(equivalent):
        status = "reproduced"
    words = f"{sum(equivalent)} of {len(found)} shown to be negligible; {in_words(found)}"
    return Outcome(status, words, tuple(found))


def _margin(panel: Panel, first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Margin of `SMALL` standard deviations of the second side's prompts; 0 where nothing can be compared."""
    spread = panel.effects(second[None]).by_prompt
    spread = spread[np.isfinite(spread)]
    if not panel.shared(first[None], second[None]).any() or len(spread) < 2:
        return 0.0
    return SMALL * float(spread.std(ddof=1))


def resampled(
    panel: Panel, arms: Sequence[str], statistic: Callable[[NDArray[np.float64]], float], seed: int = 0
) -> tuple[float, float, float]:
    """Compute a statistic of arms' means with its 95 % interval, by resampling.

    Prompts are drawn for all arms together; training seeds of each arm too where they are draws, and the
    bounds are NaN where one of these arms has too few with a value. Deviations are stretched then, as few
    draws underestimate the spread.

    Args:
        panel: panel of the metric.
        arms: rows of the panel.
        statistic: function of the means of the arms, ``(arms,)``.
        seed: seed of the resampling.

    Source:
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007).
    """
    cells, random = panel.by_prompt(panel.of(arms)), np.random.default_rng(seed)
    kept = np.isfinite(cells).any(1).all(0)
    cells = cells[:, :, kept]
    by_prompt, count = np.nanmean(cells, axis=1), int(kept.sum())
    means = by_prompt.mean(1)
    draws = random.multinomial(count, np.full(count, 1 / count), size=_DRAWS) / count @ by_prompt.T
    seeds = [row[np.isfinite(row).any(1)] for row in cells]
    if panel.over_seeds:
        if min(map(len, seeds)) < LEAST_SEEDS:
            return statistic(means), math.nan, math.nan
        draws = means + stretch(LEVEL, count) * (draws - means)
        for place, own in enumerate(seeds):
            by_seed = np.nanmean(own, axis=1)
            times = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=_DRAWS) / len(own)
            draws[:, place] += stretch(LEVEL, len(own)) * (times @ by_seed - by_seed.mean())
    low, high = np.quantile([statistic(row) for row in draws], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return statistic(means), float(low), float(high)


def in_words(differences: Sequence[Difference]) -> str:
    """Describe the effects in words, with the detectable effect where none was found."""
    lines = [one.text for one in differences]
    unseen = [
        one.detectable
        for one in differences
        if not one.supported and not one.opposed and math.isfinite(one.detectable)
    ]
    if unseen:
        lines.append(f"smallest detectable up to {max(unseen):.3g}")
    return "; ".join(lines)
