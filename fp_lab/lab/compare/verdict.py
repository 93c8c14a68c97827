"""Verdict on a grid: significant differences of the control from the rest, and between arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from fp_lab.lab.compare.contrasts import LEVEL, Contrast, adjust, contrasts
from fp_lab.lab.compare.paired_values import Panel, Panels
from fp_lab.lab.compare.recall import memory_verdict
from fp_lab.lab.compare.start_falls import StartFall, describe_start_falls, start_falls
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.results.run_index import Measure
from fp_lab.lab.scoring.files import COMPANION_FAMILY
from fp_lab.lab.tables.glossary import family_title, score_title
from fp_metrics.intervals import LEAST_CLUSTERS, LEAST_SEEDS
from fp_metrics.significance import least_p

MOST_PAIRED = 24
"""Largest number of arms that are compared in all pairs; with more, each is compared with the reference."""
_MOST_HOPELESS = 300
"""Largest number of pairs that are tested even where too few prompts rule out significance."""


@dataclass(frozen=True)
class Verdict:
    """Verdict on a comparison.

    Attributes:
        family: family of the estimators behind it.
        control: finding on the positive control.
        arms: finding on the arms with history.
        caveat: numbers of prompts and training seeds behind it.
        start: falls at the start, which drift misses, see `fp_lab.lab.compare.start_falls`; empty without.
        control_contrasts: control minus each arm, per score.
        arm_contrasts: contrasts of each pair of arms with history, per drift.
        start_falls: all falls, of which `start` names some.
        memory: finding on recall of what comes back into view; empty where nothing does.
        memory_contrasts: contrasts of each pair of arms in recall.
    """

    family: str
    control: str
    arms: str
    caveat: str
    control_contrasts: tuple[Contrast, ...]
    arm_contrasts: tuple[Contrast, ...]
    start: str = ""
    start_falls: tuple[StartFall, ...] = ()
    memory: str = ""
    memory_contrasts: tuple[Contrast, ...] = ()

    @property
    def text(self) -> str:
        """Whole verdict as one paragraph."""
        return " ".join([*self.findings, self.caveat])

    @property
    def findings(self) -> tuple[str, ...]:
        """Findings without the caveat; memory first, where something comes back into view."""
        return tuple(part for part in (self.memory, self.control, self.arms, self.start) if part)


def judge(gathered: Gathered, panels: Panels, reference: str, floor: Panels | None = None) -> Verdict:
    """Test the control and the arms.

    The control is compared with every arm in the scores (and PSNR where there is a reference), since sections
    generated without history do not degrade: they are wrong from the start. Arms are compared by the size of
    their drift. All differences are paired by prompt and video seed, see `fp_metrics.effects.effects_of`, and
    corrected by Holm within each question. Scores of which neither direction is better are left out.

    Args:
        gathered: scores of the arms.
        panels: panels of the arms' rows from own history.
        reference: arm that the others are compared with where there are more than `MOST_PAIRED`.
        floor: panels of the ground truth's rows.
    """
    family = gathered.families[0]
    estimators = gathered.estimators(family)
    fidelity = {s: e for s, e in gathered.estimators(COMPANION_FAMILY).items() if s == "psnr"}
    arms = [arm for arm in gathered.arms if not arm.control]
    controls = [arm for arm in gathered.arms if arm.control]
    better = {
        s: e for s, e in (estimators | fidelity).items() if gathered.measures[e].higher_is_better is not None
    }
    scores = {s: panels.panel(e, "value") for s, e in better.items()}
    drifts = {s: panels.panel(e, "drift_size") for s, e in estimators.items()}
    against = _tested(scores, [(control.name, arm.name) for control in controls for arm in arms])
    moving = gathered.ranked
    names = [arm.name for arm in moving]
    pairs = list(combinations(names, 2))
    if len(moving) > MOST_PAIRED:
        pairs = [(reference, name) for name in names if name != reference]
    between = _tested(drifts, pairs)
    labels = {arm.name: arm.label for arm in gathered.arms}
    falls = start_falls(gathered, panels, floor, family)
    memory, memory_contrasts = memory_verdict(gathered)
    return Verdict(
        family=family,
        control=_on_control(controls, arms, against, better, gathered.measures),
        arms=" ".join(filter(None, (_on_arms(moving, between, labels, family), *_on_frozen(gathered)))),
        caveat=_caveat(gathered, drifts),
        control_contrasts=tuple(against),
        arm_contrasts=tuple(between),
        start=describe_start_falls(falls, gathered, family),
        start_falls=tuple(falls),
        memory=memory,
        memory_contrasts=memory_contrasts,
    )


def _tested(panels: Mapping[str, Panel], pairs: Sequence[tuple[str, str]]) -> list[Contrast]:
    """Contrasts of all columns, corrected together; none where too many for any to be significant."""
    prompts = max((len(panel.prompts) for panel in panels.values()), default=0)
    if (
        not any(panel.over_seeds for panel in panels.values())
        and len(pairs) > _MOST_HOPELESS
        and len(panels) * len(pairs) * least_p(prompts) >= 1 - LEVEL
    ):
        return []
    return adjust([c for column, panel in panels.items() for c in contrasts(panel, pairs, column)])


def _on_control(
    controls: Sequence[Arm],
    arms: Sequence[Arm],
    made: Sequence[Contrast],
    estimators: Mapping[str, str],
    measures: Mapping[str, Measure],
) -> str:
    if not controls:
        return (
            "There is no control without history, so it is unknown whether this grid could show a difference."
        )
    if not arms:
        return "There is only the control: nothing to compare it with."
    if not made:
        return "There are more arms than so few prompts can distinguish from the control, so none is tested."
    if not any(c.difference.clusters for c in made):
        return "The control without history shares no video with the arms: nothing can be compared with it."
    found = [_Found.of(score, measures[e], arms, made) for score, e in estimators.items()]
    better = [one.score for one in found if len(one.better) == len(arms)]
    beside = f" It scores better than all of them in {_scores(better)}." if better else ""
    name = f"The control without history ({' and '.join(control.name for control in controls)})"
    most = max(len(one.worse) for one in found)
    if not most:
        return f"{name} does not differ significantly from any arm: it scores worse in nothing.{beside}"
    clearest = [one for one in found if len(one.worse) == most]
    missed = [arm.label for arm in arms if arm.name not in clearest[0].worse]
    same = [one.score for one in clearest if one.worse == clearest[0].worse]
    if not missed:
        return f"{name} scores worse than every arm with history in {_scores(same)}.{beside}"
    told = f"{name} scores worse than {most} of {len(arms)} arms in {_scores(same)}"
    others = _listed([f"“{label}”" for label in missed])
    return f"{told}; it does not differ significantly there from {others}.{beside}"


@dataclass(frozen=True)
class _Found:
    """Arms that the control scores significantly worse, and better, than."""

    score: str
    worse: frozenset[str]
    better: frozenset[str]

    @classmethod
    def of(cls, score: str, measure: Measure, arms: Sequence[Arm], made: Sequence[Contrast]) -> "_Found":
        """Collect them for one score, against every control."""
        sign = -1 if measure.higher_is_better is False else 1
        worse, better = set(), set()
        for arm in arms:
            own = [c for c in made if c.column == score and c.second == arm.name]
            if own and all(c.significant for c in own):
                below = {sign * c.difference.mean < 0 for c in own}
                worse |= {arm.name} if below == {True} else set()
                better |= {arm.name} if below == {False} else set()
        return cls(score, frozenset(worse), frozenset(better))


def _on_arms(arms: Sequence[Arm], made: Sequence[Contrast], labels: dict[str, str], family: str) -> str:
    if len(arms) < 2:
        return ""
    if not made:
        return f"{len(arms)} arms are more than so few prompts can distinguish, so no difference is tested."
    tested = [c for c in made if c.p == c.p]
    if not tested:
        return f"No drift {family_title(family)} is defined for two arms on the same videos."
    found = [c for c in tested if c.significant]
    count = f"{len(found)} of {len(tested)} paired differences in drift (family {family})"
    if not found:
        return (
            f"Arms with history do not differ in drift by more than the noise: 0 of {len(tested)} paired "
            f"differences (family {family}) survive Holm's correction at 5 %; read their order in the "
            "table as chance."
        )
    wins = {arm.name: 0 for arm in arms}
    losses = dict(wins)
    for c in found:
        low, high = (c.first, c.second) if c.difference.mean < 0 else (c.second, c.first)
        wins[low] += 1
        losses[high] += 1
    least = max(wins, key=lambda name: wins[name] - losses[name])
    most = max(losses, key=lambda name: losses[name] - wins[name])
    columns = list(dict.fromkeys(c.column for c in found))
    return (
        f"Arms with history differ in drift by more than the noise: {count} survive Holm's correction "
        f"at 5 %, in {_scores(columns)}; “{labels[least]}” has less drift than "
        f"another arm in {wins[least]} of them, “{labels[most]}” more in {losses[most]}."
    )


def _on_frozen(gathered: Gathered) -> list[str]:
    """Note arms whose drift is meaningless, since their videos stand still."""
    still = [arm for arm in gathered.arms if not arm.control and arm not in gathered.ranked]
    return [
        f"“{arm.label}” stands still ({gathered.frozen[arm.name]}): what does not move does not drift, so it "
        "is not compared."
        for arm in still
    ]


def _caveat(gathered: Gathered, scores: Mapping[str, Panel]) -> str:
    prompts = max(len(panel.prompts) for panel in scores.values())
    parts = [f"{prompts} prompt{'' if prompts == 1 else 's'}, {gathered.basis.counts}"]
    if prompts < LEAST_CLUSTERS:
        parts.append(f"below {LEAST_CLUSTERS} prompts intervals are unreliable and tables carry no marks")
    if not gathered.basis.over_seeds:
        parts.append(
            f"this is about these trained models, a claim about recipes needs {LEAST_SEEDS} training seeds "
            "of every arm"
        )
    if sum(not arm.control for arm in gathered.arms) > MOST_PAIRED:
        parts.append(f"more than {MOST_PAIRED} arms: each is compared with the reference arm alone")
    return " ".join([f"({'; '.join(parts)}.)", *([gathered.differing] if gathered.differing else [])])


def _scores(keys: Sequence[str]) -> str:
    return _listed([score_title(key) for key in keys])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
