"""Claims about memory, decided by returns in the still scenes of the worlds curtain and walk."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fp_lab.lab.claims.claim import Check, Difference, Evidence, Outcome
from fp_lab.lab.claims.decisions import all_hold, all_negligible, difference, mean_of, resampled
from fp_lab.lab.claims.empirical import missing, settled
from fp_lab.lab.compare.forgetting import kinds_of
from fp_lab.lab.compare.paired_values import Panel
from fp_lab.lab.compare.recall import EVERY_GAP, recall
from fp_lab.lab.results.arms import Arm
from fp_lab.recipe import BASE, Recipe, Side, parse
from fp_metrics.intervals import CLAIM_CLUSTERS
from fp_metrics.returns import OPEN

ONE_FRAME, UNCOMPRESSED = parse("td_f1k1_g9"), parse("td_f19k1_g9")
"""Lower and upper control of memory: one frame, and 19 uncompressed frames."""
_SIMILARITY = "--context.importance.kind=similarity"
_SHUFFLED = "--evaluation.shuffled=True"  # as in names of folders


def from_memory(find: Callable[[Evidence], Outcome]) -> Check:
    """Wrap a check that needs runs in still scenes, inconclusive if these cannot separate the controls."""

    def check(evidence: Evidence) -> Outcome:
        if evidence.comparison is None or "recall" not in kinds_of(evidence.comparison.gathered):
            return Outcome("not measured", "no runs in still scenes were named: fp-lab claims runs/memory")
        return settled(find(evidence), evidence, lambda: _doubt(evidence))

    return check


def _doubt(evidence: Evidence) -> str:
    """Reason why these runs decide nothing about memory; empty where they can."""
    found = controls(evidence)
    if found.status == "not measured":
        return found.evidence
    if min((one.clusters for one in found.differences), default=0) < CLAIM_CLUSTERS:
        return f"a claim needs {CLAIM_CLUSTERS} prompts in which something comes back"
    if found.status != "reproduced":
        return "the runs do not tell 19 uncompressed frames of history from one"
    return ""


def controls(evidence: Evidence) -> Outcome:
    """Compare 19 uncompressed frames with one, and one with none."""
    arms = {arm.recipe: arm.name for arm in evidence.packed}
    if not {ONE_FRAME, UNCOMPRESSED} <= arms.keys():
        return Outcome("not measured", f"the runs lack {ONE_FRAME} or {UNCOMPRESSED}, the controls of memory")
    return all_hold(_effects(evidence, [("19 frames less 1", arms[UNCOMPRESSED], arms[ONE_FRAME])]))


def packed_beyond_one(evidence: Evidence) -> Outcome:
    """Compare every compression of the vanilla order with its one uncompressed frame alone."""
    arms = {arm.recipe: arm.name for arm in evidence.packed}
    compressed = [
        recipe
        for recipe in arms
        if recipe.order == "vanilla" and _is_packed(recipe) and len(recipe.left.runs) == 1
    ]
    if ONE_FRAME not in arms or not compressed:
        return missing(f"packed arm beside {ONE_FRAME}")
    pairs = [(f"{arms[recipe]} less 1 frame", arms[recipe], arms[ONE_FRAME]) for recipe in compressed]
    return all_hold(_effects(evidence, pairs))


def nothing_beyond_reach(evidence: Evidence) -> Outcome:
    """Compare schedules that drop their tail with one frame, on what was hidden beyond their reach."""
    arms = {arm.recipe: arm.name for arm in evidence.packed}
    found = []
    for recipe, name in arms.items():
        side = recipe.left
        if recipe.order != "vanilla" or side.tail != "td" or len(side.runs) > 1 or recipe == ONE_FRAME:
            continue
        # the last frame of a section sees back past the frames that are made with it
        reach = sum(level.frames for level in side.runs[0].levels) + recipe.section - 1
        panel = _panel(evidence, reach + 1)
        if ONE_FRAME not in arms or not panel.rows.keys() >= {name, arms[ONE_FRAME]}:
            continue
        found.append(
            (f"{name}, hidden longer than {reach} frames", panel, *panel.of([name, arms[ONE_FRAME]]))
        )
    found = [one for one in found if one[1].shared(one[2][None], one[3][None]).any()]
    if not found:
        return Outcome(
            "not measured", f"nothing comes back beyond the reach of a schedule beside {ONE_FRAME}"
        )
    return all_negligible(found)


def first_frame_kept(evidence: Evidence) -> Outcome:
    """Compare schedules that keep the first frame with the same without it."""
    return _against(
        evidence,
        lambda recipe: (
            replace(recipe, left=Side(recipe.left.runs[-1:], True, "td"))
            if recipe.order == "vanilla" and len(recipe.left.runs) > 1
            else None
        ),
        "arm that keeps the first frame beside the same without",
    )


def inverted_recalls_more(evidence: Evidence) -> Outcome:
    """Compare inverted arms, which always see the first frame, with vanilla ones of the same levels."""

    def vanilla(recipe: Recipe) -> Recipe | None:
        if recipe.order != "inverted":
            return None
        side = Side((recipe.right.runs[0].mirrored,), True, recipe.right.tail)
        return replace(recipe, left=side, right=Side())

    return _against(evidence, vanilla, "inverted arm beside the vanilla one of the same levels")


def similarity_recalls_more(evidence: Evidence) -> Outcome:
    """Compare packing by similarity with packing by time."""
    known = {evidence.own_name(arm): arm for arm in evidence.arms}
    pairs = [
        (f"{plain}, by similarity less by time", known[name].name, known[plain].name)
        for name in known
        if name.endswith(_SIMILARITY) and (plain := name.removesuffix(_SIMILARITY)) in known
    ]
    if not pairs:
        return Outcome(
            "not measured", "the runs have no arm with context.importance.kind=similarity beside time"
        )
    return all_hold(_effects(evidence, pairs))


def shuffled_recalls_nothing(evidence: Evidence) -> Outcome:
    """Compare arms with the history of another video with no history at all."""
    assert evidence.comparison is not None
    controls = [arm.name for arm in evidence.comparison.gathered.arms if arm.control]
    shuffled = [arm.name for arm in evidence.arms if _SHUFFLED in arm.name]
    panel = _panel(evidence)
    found = [
        (f"{name} less no history", panel, *panel.of([name, control]))
        for name in shuffled
        for control in controls
        if panel.rows.keys() >= {name, control}
    ]
    if not found:
        return missing("arm with evaluation.shuffled=true beside one without history")
    return all_negligible(found)


def measures_agree(evidence: Evidence) -> Outcome:
    """Compute Kendall's tau over arms between recall by pixels and objects restored by the probe."""
    assert evidence.comparison is not None
    gathered = evidence.comparison.gathered
    return _same_rank(
        evidence.packed,
        ("recall", recall(gathered, EVERY_GAP)),
        ("objects restored", recall(gathered, EVERY_GAP, by_probe=True)),
    )


def dilemma(evidence: Evidence) -> Outcome:
    """Compute Kendall's tau over packed arms between recall from generated history and drift in clarity."""
    return _dilemma(evidence, evidence.packed)


def dilemma_of_settings(evidence: Evidence) -> Outcome:
    """Compute the same over all arms with history, whatever their settings."""
    return _dilemma(evidence, with_own_history(evidence))


def _dilemma(evidence: Evidence, arms: Sequence[Arm]) -> Outcome:
    assert evidence.comparison is not None
    recalled = recall(evidence.comparison.gathered, EVERY_GAP, "own")
    return rank_with_drift(evidence, arms, "recall", recalled)


def with_own_history(evidence: Evidence) -> list[Arm]:
    """Arms with history that is that of the video itself."""
    return [arm for arm in evidence.arms if _SHUFFLED not in arm.name]


def rank_with_drift(evidence: Evidence, arms: Sequence[Arm], name: str, panel: Panel) -> Outcome:
    """Compute Kendall's tau over arms between a statistic and drift in clarity."""
    if "clarity" not in evidence.scores:
        return missing("clarity score")
    return _same_rank(arms, (name, panel), ("drift of clarity", evidence.panel("clarity", "drift_size")))


def _same_rank(of: Sequence[Arm], first: tuple[str, Panel], second: tuple[str, Panel]) -> Outcome:
    """Compute Kendall's tau of two statistics over arms, on the prompts with both.

    Of fewer than four arms even the same rank could be chance: one order in six is.
    """
    (one_name, one), (other_name, other) = first, second
    arms = [arm.name for arm in of if {arm.name} <= one.rows.keys() & other.rows.keys()]
    if len(arms) < 4:
        return missing(f"four arms with {one_name} and {other_name}")
    prompts = [prompt for prompt in one.prompts if prompt in other.prompts]

    def cells(panel: Panel) -> NDArray[np.float64]:
        return panel.by_prompt(panel.of(arms))[..., [panel.prompts.index(prompt) for prompt in prompts]]

    both = Panel(
        (*(f"{one_name} {arm}" for arm in arms), *(f"{other_name} {arm}" for arm in arms)),
        tuple(prompts),
        np.concatenate((cells(one), cells(other))),
        np.arange(len(prompts)),
        one.over_seeds,
    )
    upper, lower = np.triu_indices(len(arms), 1)

    def concordance(means: NDArray[np.float64]) -> float:
        left, right = means[: len(arms)], means[len(arms) :]
        return float((np.sign(left[upper] - left[lower]) * np.sign(right[upper] - right[lower])).mean())

    mean, low, high = resampled(both, both.arms, concordance)
    label = f"Kendall's tau of {one_name} and {other_name} over {len(arms)} arms"
    whole = Difference(label, mean, low, high, low > 0, high < 0, math.nan, len(both.prompts))
    return all_hold([whole])


def _against(evidence: Evidence, other: Callable[[Recipe], Recipe | None], what: str) -> Outcome:
    """Compare every arm with the one whose recipe `other` derives from its own, where the runs have it."""
    arms = {arm.recipe: arm.name for arm in evidence.packed}
    pairs = [
        (name, name, arms[plain])
        for recipe, name in arms.items()
        if (plain := other(recipe)) is not None and plain in arms
    ]
    return (
        all_hold(_effects(evidence, pairs)) if pairs else Outcome("not measured", f"the runs have no {what}")
    )


def _effects(evidence: Evidence, pairs: Sequence[tuple[str, str, str]]) -> list[Difference]:
    """Compute the recall in dB from true history, first arm minus second."""
    panel = _panel(evidence)
    return [
        one
        for name, first, second in pairs
        if panel.rows.keys() >= {first, second}
        and (
            one := difference(
                panel, mean_of(panel, [first]), mean_of(panel, [second]), f"recall dB, {name}", len(pairs)
            )
        ).clusters
    ]


def _panel(evidence: Evidence, least: int = 1) -> Panel:
    assert evidence.comparison is not None
    return recall(evidence.comparison.gathered, range(least, OPEN))


def _is_packed(recipe: Recipe) -> bool:
    return any(level.kernel != BASE for level in recipe.levels)
