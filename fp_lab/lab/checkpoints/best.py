"""The best checkpoint by one figure, and the ones that cannot be told from it."""

import math
from dataclasses import dataclass

import pandas as pd

from fp_lab.lab.compare.paired_values import Panel, Panels
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.scoring.score_run import applying_families
from fp_lab.lab.scoring.score_video import measures
from fp_metrics import FAMILIES, Interval


@dataclass(frozen=True)
class Goal:
    """By what checkpoints are compared.

    Attributes:
        family: of the estimator.
        score: that it estimates.
        drift: whether its drift counts, mean |d|, of which less is better; else the score itself.
    """

    family: str
    score: str
    drift: bool

    @classmethod
    def parse(cls, text: str) -> "Goal":
        """From ``family/score`` or ``family/score.drift``.

        Raises:
            ValueError: it is something else.
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
    """The best checkpoint of a run.

    Attributes:
        step: after which it was saved.
        figure: what it reaches, with its 95 % interval.
        ties: steps that cannot be told from it: the 95 % interval of the difference over the same videos
            holds 0, or there are too few videos for one.
    """

    step: int
    figure: Interval
    ties: tuple[int, ...]


def check_measured(goal: Goal, config: ExperimentConfig) -> None:
    """Refuse a goal that an experiment will not measure, before anything is done.

    Raises:
        ValueError: with what it measures.
    """
    measured = applying_families(config)
    scores = [kind.score for kind in FAMILIES.get(goal.family, {}).values()]
    if goal.family not in measured or goal.score not in scores:
        raise ValueError(
            f"track.best: got {str(goal)!r}, expected a score of a family that is measured "
            f"({', '.join(measured)}), such as {measured[0]}/clarity.drift"
        )


def best_checkpoint(videos: pd.DataFrame, goal: Goal) -> Best | None:
    """The best step by a goal; None where it is undefined at every step.

    A step most of whose videos stand still is out of the question, unless all steps are such: what does not
    move does not drift.

    Args:
        videos: see `fp_lab.lab.checkpoints.rows.tracked_videos`.
        goal: by what; of several estimators of a score the first counts.

    Raises:
        ValueError: nobody has measured it, or neither direction is better.
    """
    still = frozen_steps(videos)
    if len(still) < videos["step"].nunique():
        videos = videos[~videos["step"].isin(still)]
    panel, sign = goal_panel(videos, goal), _sign(videos, goal)
    defined = {step: found for step, found in panel.intervals.items() if math.isfinite(found.mean)}
    if not defined:
        return None
    best = min(defined, key=lambda step: (sign * defined[step].mean, int(step)))
    differences = panel.compared(panel.of(list(defined)), panel.of([best] * len(defined))).intervals()
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
    """The goal's figure, a row per step: its checkpoints are compared as arms are.

    Raises:
        ValueError: nobody has measured it.
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
    """Whether more of a goal's figure is better; None: neither direction is."""
    if goal.drift:
        return False
    rows = videos[(videos["family"] == goal.family) & (videos["score"] == goal.score)]
    return measures()[rows["estimator"].iloc[0]].higher_is_better


def _sign(videos: pd.DataFrame, goal: Goal) -> int:
    more = better_direction(videos, goal)
    if more is None:
        raise ValueError(f"of {goal} neither more nor less is better; choose by its drift: {goal}.drift")
    return -1 if more else 1
