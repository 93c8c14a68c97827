"""Best checkpoint by one metric, and those not significantly different from it."""

import math
from dataclasses import dataclass

import pandas as pd

from fp_lab.lab.compare.paired_values import Panel, Panels
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.scoring.score_run import applying_families
from fp_lab.lab.scoring.score_video import measures
from fp_lab.lab.scoring.without_rollout import STEP_ERROR, UNITS
from fp_metrics import FAMILIES, Interval


@dataclass(frozen=True)
class Goal:
    """Criterion by which checkpoints are compared.

    Attributes:
        family: family of the estimator.
        score: score of the estimator.
        drift: whether the drift counts, mean |d|, where less is better; else the score itself.
    """

    family: str
    score: str
    drift: bool

    @classmethod
    def parse(cls, text: str) -> "Goal":
        """Parse ``family/score`` or ``family/score.drift``.

        Raises:
            ValueError: the text has another form.
        """
        name, drift = text.removesuffix(".drift"), text.endswith(".drift")
        family, slash, score = name.partition("/")
        if not (family and slash and score):
            raise ValueError(
                f"got {text!r}, expected family/score or family/score.drift, such as world/anatomy.drift"
            )
        return cls(family, score, drift)

    def __str__(self) -> str:
        return f"{self.family}/{self.score}{'.drift' if self.drift else ''}"


@dataclass(frozen=True)
class Best:
    """Best checkpoint of a run.

    Attributes:
        step: step after which it was saved.
        figure: value of the criterion, with its 95 % interval.
        ties: steps not significantly different from it: the 95 % interval of the difference over the same
            videos contains 0, or there are too few videos for one.
    """

    step: int
    figure: Interval
    ties: tuple[int, ...]


def check_measured(goal: Goal, config: ExperimentConfig) -> None:
    """Check that an experiment will measure a goal, before anything is run.

    Raises:
        ValueError: it will not; the message lists what it measures.
    """
    measured = applying_families(config)
    scores = [kind.score for kind in FAMILIES.get(goal.family, {}).values()]
    if goal.family not in measured or goal.score not in scores:
        raise ValueError(
            f"track.best: got {str(goal)!r}, expected a score of a family that is measured "
            f"({', '.join(measured)}), such as {measured[0]}/clarity.drift"
        )


def best_checkpoint(videos: pd.DataFrame, goal: Goal) -> Best | None:
    """Return the best step by a goal; None where it is undefined at every step.

    A step with mostly frozen videos is excluded, unless all steps are such: what does not move does not
    drift.

    Args:
        videos: rows of `fp_lab.lab.checkpoints.rows.tracked_videos`.
        goal: criterion; of several estimators of a score the first counts.

    Raises:
        ValueError: the goal was not measured, or neither direction is better.
    """
    still = frozen_steps(videos)
    if len(still) < videos["step"].nunique():
        videos = videos[~videos["step"].isin(still)]
    panel, sign = goal_panel(videos, goal), _sign(videos, goal)
    defined = {step: found for step, found in panel.intervals.items() if math.isfinite(found.mean)}
    if not defined:
        return None
    best = min(defined, key=lambda step: (sign * defined[step].mean, int(step)))
    differences = panel.differences(panel.of(list(defined)), panel.of([best] * len(defined))).intervals()
    ties = [
        int(step)
        for step, difference in zip(defined, differences, strict=True)
        if step != best and not difference.excludes(0)
    ]
    return Best(int(best), defined[best], tuple(ties))


def frozen_steps(videos: pd.DataFrame) -> list[int]:
    """Steps at which more than half of the videos stand still, see `fp_metrics.Flags.frozen`."""
    if "frozen" not in videos:
        return []
    once = videos.drop_duplicates(["step", "seed"])
    share = once["frozen"].astype(bool).groupby(once["step"]).mean()
    return [int(step) for step in share.index[share > 0.5]]


def goal_panel(videos: pd.DataFrame, goal: Goal) -> Panel:
    """Panel of the goal's metric with a row per step: checkpoints are compared as arms are.

    Raises:
        ValueError: the goal was not measured.
    """
    rows = videos[(videos["family"] == goal.family) & (videos["score"] == goal.score)]
    if rows.empty:
        known = sorted(
            {f"{family}/{score}" for family, score in zip(videos["family"], videos["score"], strict=True)}
        )
        raise ValueError(f"no checkpoint has {goal.family}/{goal.score}; measured are {', '.join(known)}")
    one_training = rows.assign(arm=rows["step"], training_seed=0).reset_index(drop=True)
    return Panels(one_training).panel(rows["estimator"].iloc[0], "drift_size" if goal.drift else "value")


def better_direction(videos: pd.DataFrame, goal: Goal) -> bool | None:
    """Whether higher values of a goal are better; None: neither direction is."""
    if goal.drift:
        return False
    rows = videos[(videos["family"] == goal.family) & (videos["score"] == goal.score)]
    if goal.family in UNITS:
        return False if goal.family == STEP_ERROR else None
    return measures()[rows["estimator"].iloc[0]].higher_is_better


def _sign(videos: pd.DataFrame, goal: Goal) -> int:
    more = better_direction(videos, goal)
    if more is None:
        raise ValueError(f"of {goal} neither more nor less is better; choose by its drift: {goal}.drift")
    return -1 if more else 1
