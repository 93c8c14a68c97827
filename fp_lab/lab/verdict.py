"""What a grid can tell apart: the control from the rest, and the arms from each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from fp_lab.lab.contrasts import Contrast, adjust, contrast, paired_values
from fp_lab.lab.gathered import Arm, Gathered
from fp_lab.lab.measured import COMPANION_FAMILY, measures
from fp_metrics.statistics import LEAST_CLUSTERS

LEAST_SEEDS = 3
"""Training seeds that a claim about a recipe needs."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a comparison.

    Attributes:
        family: of the estimators it rests on.
        control: what can be said of the positive control.
        arms: what can be said of the arms with history.
        caveat: prompts and training seeds behind it.
        control_contrasts: control less each arm, per score.
        arm_contrasts: each pair of arms with history, per drift.
    """

    family: str
    control: str
    arms: str
    caveat: str
    control_contrasts: tuple[Contrast, ...]
    arm_contrasts: tuple[Contrast, ...]

    @property
    def text(self) -> str:
        """All of it as one paragraph."""
        return " ".join(part for part in (self.control, self.arms, self.caveat) if part)


def judge(gathered: Gathered, videos: pd.DataFrame) -> Verdict:
    """Test the control and the arms.

    The control is compared with every arm in the scores (and PSNR where there is a reference), since sections
    made without history do not grow worse: they are wrong from the start. Arms are compared in the size of
    their drift. All differences are paired by prompt and seeds, and corrected by Holm within each question.

    Args:
        gathered: the arms.
        videos: rows from own history with columns ``cluster`` and ``drift_size``.
    """
    family = gathered.families[0]
    estimators = gathered.estimators(family)
    fidelity = {s: e for s, e in gathered.estimators(COMPANION_FAMILY).items() if s == "psnr"}
    arms = [arm for arm in gathered.arms if not arm.control]
    controls = [arm for arm in gathered.arms if arm.control]
    scores = {
        score: _table(videos, estimator, "value") for score, estimator in (estimators | fidelity).items()
    }
    drifts = {score: _table(videos, estimator, "drift_size") for score, estimator in estimators.items()}
    against = adjust(
        [
            contrast(values, control.name, arm.name, score)
            for score, values in scores.items()
            for control in controls
            for arm in arms
            if {control.name, arm.name} <= set(values)
        ]
    )
    between = adjust(
        [
            contrast(values, one.name, other.name, score)
            for score, values in drifts.items()
            for one, other in combinations(arms, 2)
            if {one.name, other.name} <= set(values)
        ]
    )
    labels = {arm.name: arm.label for arm in gathered.arms}
    return Verdict(
        family=family,
        control=_on_control(controls, arms, against, estimators | fidelity),
        arms=_on_arms(arms, between, labels, family),
        caveat=_caveat(gathered, videos),
        control_contrasts=tuple(against),
        arm_contrasts=tuple(between),
    )


def _table(videos: pd.DataFrame, estimator: str, column: str) -> pd.DataFrame:
    rows = videos[(videos["estimator"] == estimator) & videos[column].notna()]
    return paired_values(rows, column) if len(rows) else pd.DataFrame()


def _on_control(
    controls: Sequence[Arm], arms: Sequence[Arm], contrasts: Sequence[Contrast], estimators: dict[str, str]
) -> str:
    if not controls:
        return (
            "There is no control without history, so it is unknown whether this grid could show a difference."
        )
    if not arms:
        return "There is only the control: nothing to compare it with."
    found = [_Found.of(score, estimator, arms, contrasts) for score, estimator in estimators.items()]
    better = [one.score for one in found if len(one.better) == len(arms)]
    beside = f" It scores better than all of them in {_listed(better)}." if better else ""
    name = f"The control without history ({' and '.join(control.name for control in controls)})"
    most = max(len(one.worse) for one in found)
    if not most:
        return f"{name} is not told apart from any arm: it scores worse in nothing.{beside}"
    clearest = [one for one in found if len(one.worse) == most]
    missed = [arm.label for arm in arms if arm.name not in clearest[0].worse]
    same = [one.score for one in clearest if one.worse == clearest[0].worse]
    if not missed:
        return f"{name} scores worse than every arm with history in {_listed(same)}.{beside}"
    told = f"{name} scores worse than {most} of {len(arms)} arms in {_listed(same)}"
    return f"{told}; it is not told apart there from {_listed([f'“{label}”' for label in missed])}.{beside}"


@dataclass(frozen=True)
class _Found:
    """Arms that the control scores significantly worse, and better, than."""

    score: str
    worse: frozenset[str]
    better: frozenset[str]

    @classmethod
    def of(cls, score: str, estimator: str, arms: Sequence[Arm], contrasts: Sequence[Contrast]) -> "_Found":
        """In one score, against every control."""
        sign = -1 if measures()[estimator].higher_is_better is False else 1
        worse, better = set(), set()
        for arm in arms:
            own = [c for c in contrasts if c.column == score and c.second == arm.name]
            if own and all(c.significant for c in own):
                below = {sign * c.difference.mean < 0 for c in own}
                worse |= {arm.name} if below == {True} else set()
                better |= {arm.name} if below == {False} else set()
        return cls(score, frozenset(worse), frozenset(better))


def _on_arms(arms: Sequence[Arm], contrasts: Sequence[Contrast], labels: dict[str, str], family: str) -> str:
    if len(arms) < 2:
        return ""
    tested = [c for c in contrasts if c.p == c.p]
    if not tested:
        return f"No drift of family {family} is defined for two arms."
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
        f"at 5 %, in {_listed(columns)}; “{labels[least]}” has less drift than "
        f"another arm in {wins[least]} of them, “{labels[most]}” more in {losses[most]}."
    )


def _caveat(gathered: Gathered, videos: pd.DataFrame) -> str:
    prompts = videos.loc[videos["arm"] == gathered.arms[0].name, "cluster"].nunique()
    seeds = min(len(arm.seeds) for arm in gathered.arms)
    parts = [f"{prompts} prompts, {seeds} training seed{'s' if seeds > 1 else ''} per arm"]
    if prompts < LEAST_CLUSTERS:
        parts.append(f"below {LEAST_CLUSTERS} prompts intervals are unreliable")
    if seeds < LEAST_SEEDS:
        parts.append(
            f"this is about these trained models, a claim about recipes needs {LEAST_SEEDS} training seeds"
        )
    return f"({'; '.join(parts)}.)"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]
