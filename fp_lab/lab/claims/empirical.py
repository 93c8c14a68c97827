"""Empirical claims, decided by runs: contrasted arms, metrics and signs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from fp_lab.lab.claims.claim import Check, Difference, Evidence, Outcome, Status, names
from fp_lab.lab.claims.decisions import (
    all_hold,
    all_negligible,
    at_least,
    difference,
    in_words,
    mean_of,
    resampled,
)
from fp_lab.lab.compare.paired_values import Statistic
from fp_lab.lab.compare.paper_values import paper
from fp_lab.lab.results.arms import Arm

SEVEN = 7
"""Number of scores that the paper counts."""


def from_runs(find: Callable[[Evidence], Outcome]) -> Check:
    """Wrap a check that needs runs, inconclusive where these cannot decide."""

    def check(evidence: Evidence) -> Outcome:
        if evidence.comparison is None:
            return Outcome("not measured", "no runs were named: fp-lab claims runs/table1 runs/table2")
        return settled(find(evidence), evidence, lambda: evidence.doubt)

    return check


def settled(outcome: Outcome, evidence: Evidence, doubt: Callable[[], str]) -> Outcome:
    """Return an outcome, or inconclusive where there is a doubt; toy where models of the toy world agree.

    Args:
        outcome: outcome by the values.
        evidence: evidence behind the outcome.
        doubt: function that returns why nothing can be decided; called only where something would be.
    """
    if outcome.status in ("reproduced", "not reproduced") and (why := doubt()):
        words = f"{why}; the figures alone would say {outcome.status}: {outcome.evidence}"
        return replace(outcome, status="inconclusive", evidence=words)
    if outcome.status == "reproduced" and evidence.toy:
        return replace(outcome, status="toy")
    return outcome


def missing(what: str) -> Outcome:
    """Return the outcome where runs lack the arms that a claim is about."""
    return Outcome("not measured", f"the runs have no {what}")


def of_order(evidence: Evidence, order: str) -> list[Arm]:
    """Packed arms that represent an order: continuous history, tail td, section of the inverted arms."""
    sections = {arm.recipe.section for arm in evidence.packed if arm.recipe.order == "inverted"}
    return [
        arm
        for arm in evidence.packed
        if arm.recipe.order == order
        and arm.recipe.codebook is None
        and {arm.recipe.left.tail, arm.recipe.right.tail} <= {None, "td"}
        and arm.recipe.section in sections
    ]


def effects(
    evidence: Evidence, pairs: Sequence[tuple[str, Sequence[str], Sequence[str]]], figure: Statistic
) -> list[Difference]:
    """Compute how much better the first arms are than the second, per score and pair of groups.

    Args:
        evidence: evidence with the runs.
        pairs: names with first and second arms.
        figure: statistic: ``value``, where more is better, or ``drift_size``, where less is.
    """
    found = []
    sign = -1.0 if figure == "drift_size" else 1.0
    for score in evidence.scores:
        panel = evidence.panel(score, figure)
        for name, first, second in pairs:
            if panel.rows.keys() >= {*first, *second}:
                label = f"{score}, {name}" if name else score
                sides = sign * mean_of(panel, first), sign * mean_of(panel, second)
                one = difference(panel, *sides, label, len(evidence.scores) * len(pairs))
                found += [one] if one.clusters else []
    return found


def lowest_drift(evidence: Evidence) -> Outcome:
    """Compare inverted arms with those of every other order, in the drift of every score."""
    inverted = of_order(evidence, "inverted")
    others = [(order, names(of_order(evidence, order))) for order in ("vanilla", "endpoint")]
    pairs = [(f"against {order}", names(inverted), arms) for order, arms in others if arms]
    if not inverted or not pairs:
        return missing("packed arms of inverted and of another order")
    return all_hold(effects(evidence, pairs, "drift_size"))


def best_in(least: int) -> Check:
    """Check that inverted arms are better than every other order in at least `least` scores."""

    def find(evidence: Evidence) -> Outcome:
        inverted = names(of_order(evidence, "inverted"))
        rivals = {order: names(of_order(evidence, order)) for order in ("vanilla", "endpoint")}
        pairs = [(order, inverted, arms) for order, arms in rivals.items() if arms]
        if not inverted or not pairs:
            return missing("packed arms of inverted and of another order")
        found = effects(evidence, pairs, "value")
        nearest = [
            min(own, key=lambda one: (not one.opposed, one.low))
            for score in evidence.scores
            if (own := [one for one in found if one.name.partition(",")[0] == score])
        ]
        return at_least(nearest, least, SEVEN)

    return from_runs(find)


def in_dynamic(higher: str, lower: str) -> Check:
    """Check the dynamic score of one order against another's; ``+D`` is vanilla with discrete history."""

    def find(evidence: Evidence) -> Outcome:
        first, second = (_group(evidence, order) for order in (higher, lower))
        if not first or not second:
            return missing(f"packed arms both {higher} and {lower}")
        if "dynamic" not in evidence.scores:
            return missing("dynamic score")
        panel = evidence.panel("dynamic", "value")
        sides = mean_of(panel, first), mean_of(panel, second)
        return all_hold([difference(panel, *sides, f"dynamic, {higher} less {lower}")])

    return from_runs(find)


def _group(evidence: Evidence, order: str) -> list[str]:
    if order == "+D":
        return [arm.name for arm in evidence.packed if arm.recipe.order == "vanilla" and arm.recipe.codebook]
    return names(of_order(evidence, order))


def less_drift_when_discrete(evidence: Evidence) -> Outcome:
    """Compare every arm with discrete history with the same arm without, in the drift of every score."""
    present = {arm.recipe: arm.name for arm in evidence.packed}
    pairs = [
        (str(recipe), [name], [present[replace(recipe, codebook=None)]])
        for recipe, name in present.items()
        if recipe.codebook and replace(recipe, codebook=None) in present
    ]
    if not pairs:
        return missing("arm with +D beside the same without")
    return all_hold(effects(evidence, pairs, "drift_size"))


def order_matters_more(evidence: Evidence) -> Outcome:
    """Compare the spread of drift between orders with that within one, in units of that over prompts."""
    orders = {order: names(of_order(evidence, order)) for order in ("vanilla", "endpoint", "inverted")}
    orders = {order: arms for order, arms in orders.items() if arms}
    if len(orders) < 2 or max(map(len, orders.values())) < 2:
        return missing("two orders, one of them with two configurations")
    arms = [name for group in orders.values() for name in group]
    group_of = np.array([place for place, group in enumerate(orders.values()) for _ in group])

    def spread(means: NDArray[np.float64]) -> float:
        centres = np.array([means[group_of == place].mean() for place in range(len(orders))])
        within = [means[group_of == p].std(ddof=1) for p in range(len(orders)) if (group_of == p).sum() > 1]
        return float(centres.std(ddof=1) - np.mean(within))

    found = []
    for score in evidence.scores:
        panel = evidence.panel(score, "drift_size")
        if panel.rows.keys() >= set(arms) and np.isfinite(panel.of(arms)).any(1).all():
            mean, low, high = resampled(panel, arms, spread)
            found.append(_whole(score, mean, low, high, len(panel.prompts)))
    supported, opposed = sum(one.supported for one in found), sum(one.opposed for one in found)
    status: Status = "inconclusive"
    if supported > len(found) / 2 and not opposed:
        status = "reproduced"
    elif opposed > len(found) / 2 and not supported:
        status = "not reproduced"
    return Outcome(status, f"{supported} of {len(found)} scores agree; {in_words(found)}", tuple(found))


def _whole(name: str, mean: float, low: float, high: float, prompts: int) -> Difference:
    """Make a difference of a statistic of all arms together, uncorrected."""
    return Difference(name, mean, low, high, low > 0, high < 0, float("nan"), prompts)


def longest_section_best(evidence: Evidence) -> Outcome:
    """Compare sections of 9 with 1 and 4 frames, in every score, as a substitute for human votes."""
    present = {arm.recipe: arm.name for arm in evidence.packed}
    pairs = [
        (f"g9 against g{section}", [name], [present[replace(recipe, section=section)]])
        for recipe, name in present.items()
        for section in (1, 4)
        if recipe.section == 9 and replace(recipe, section=section) in present
    ]
    if not pairs:
        return missing("arm with sections of 9 frames beside the same with 1 or 4")
    return all_hold(effects(evidence, pairs, "value"))


def tails_negligible(evidence: Evidence) -> Outcome:
    """Check that the tails td, ta, tc differ by less than a small effect, pairwise in every score."""
    groups: dict[str, dict[str, str]] = {}
    for arm in evidence.packed:
        tail = arm.recipe.left.tail or arm.recipe.right.tail
        if tail:
            groups.setdefault(arm.name.replace(tail, "", 1), {})[tail] = arm.name
    pairs = [
        (f"{one}-{other}", group[one], group[other])
        for group in groups.values()
        for one, other in combinations(sorted(group), 2)
    ]
    if not pairs:
        return missing("arms that differ in their tail alone")
    panels = {score: evidence.panel(score, "value") for score in evidence.scores}
    found = [
        (f"{score}, {label}", panel, *panel.of([one, other]))
        for score, panel in panels.items()
        for label, one, other in pairs
    ]
    return all_negligible(found)


def less_drift_than_baselines(evidence: Evidence) -> Outcome:
    """Compare inverted packed arms (all packed ones where there are none) with baselines, in every drift."""
    packed, baselines = names(of_order(evidence, "inverted") or evidence.packed), evidence.baselines
    if not packed or not baselines:
        return missing("packed arms beside alternative architectures")
    pairs = [(f"against {arm.name}", packed, [arm.name]) for arm in baselines]
    return all_hold(effects(evidence, pairs, "drift_size"))


def more_noise_less_drift(evidence: Evidence) -> Outcome:
    """Check for less drift in clarity with noisy history at sigma_test 0.1 than 0, and 0.5 than 0.1."""
    own = {evidence.own_name(arm): arm.name for arm in evidence.baselines}
    levels = [f"noisy_history_test{level}" for level in ("0", "0.1", "0.5")]
    if not own.keys() >= set(levels):
        return missing("noisy history at sigma_test 0, 0.1 and 0.5")
    if "clarity" not in evidence.scores:
        return missing("clarity score")
    panel = evidence.panel("clarity", "drift_size")
    return all_hold(
        [
            difference(
                panel,
                mean_of(panel, [own[less]]),
                mean_of(panel, [own[more]]),
                f"clarity, {less} less {more}",
                2,
            )
            for less, more in pairwise(levels)
        ]
    )


def paper_order(key: str, figure: str) -> Check:
    """Compare our order of arms with the paper's in a drift, by mean concordance of pairs (Kendall)."""

    def find(evidence: Evidence) -> Outcome:
        score = figure.removeprefix("drift_")
        known = {row.name: row.figures[figure] for row in paper().table(key).rows if figure in row.figures}
        arms = {arm.name: evidence.own_name(arm) for arm in evidence.arms if evidence.own_name(arm) in known}
        if len(arms) < 3 or score not in evidence.scores:
            return missing(f"three arms whose {figure.replace('_', ' ')} the paper gives")
        panel = evidence.panel(score, "drift_size")
        theirs = np.array([known[own] for own in arms.values()])
        one, other = np.triu_indices(len(arms), 1)
        order = np.sign(theirs[one] - theirs[other])

        def concordance(means: NDArray[np.float64]) -> float:
            return float((np.sign(means[one] - means[other]) * order).mean())

        mean, low, high = resampled(panel, list(arms), concordance)
        label = f"Kendall's tau over {len(arms)} arms"
        return all_hold([_whole(label, mean, low, high, len(panel.prompts))])

    return from_runs(find)
