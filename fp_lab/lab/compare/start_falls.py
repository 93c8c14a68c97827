"""Losses of arms within the first 15 % of their videos, which drift from start to end does not count."""

from dataclasses import dataclass

import numpy as np

from fp_lab.lab.compare.paired_values import Panels
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.tables.glossary import score_title
from fp_metrics.intervals import Interval
from fp_metrics.segments import FRACTION, segment

_SHOWN = 3


@dataclass(frozen=True)
class StartFall:
    """A fall of a score between the given frame and the first 15 % of an arm's videos.

    Attributes:
        arm: name of the arm.
        score: name of the score.
        change: score of the first 15 % minus that of the given frame, with its 95 % interval.
        truth: same change of the ground truth through the codec; 0 where there is none.
    """

    arm: str
    score: str
    change: Interval
    truth: float


def start_falls(gathered: Gathered, panels: Panels, floor: Panels | None, family: str) -> list[StartFall]:
    """Find falls beyond noise and beyond the ground truth's, the largest first.

    A score that falls steadily falls inside the first segment too, in proportion to its drift: only larger
    falls count. Its interval must lie on the worse side of 0 and of the ground truth's, at 5 % over all arms
    and scores together (Bonferroni). The control without history is left out: it is wrong from the start.
    """
    frames = int(gathered.protocol["frames"])
    part = len(segment(frames).start)
    steady = (part - 1) / (2 * max(1, frames - part))  # of the drift of a straight line
    controls = {arm.name for arm in gathered.arms if arm.control}
    measured = []
    for score, estimator in gathered.estimators(family).items():
        better = gathered.measures[estimator].higher_is_better
        panel = panels.panel(estimator, "start_given")
        if better is not None:
            measured.append((score, estimator, 1 if better else -1, panel))
    count = sum(len(set(panel.arms) - controls) for *_, panel in measured)
    falls = []
    for score, estimator, sign, panel in measured:
        own = floor.panel(estimator, "start_given").intervals if floor is not None else {}
        truth = next((found.mean for found in own.values() if found.mean == found.mean), 0.0)
        beyond = panel.values - steady * np.nan_to_num(panels.panel(estimator, "drift").values)
        strict = panel.effects(beyond).intervals(1 - 0.05 / max(1, count))
        least = min(0.0, sign * truth)
        for arm, sure in zip(panel.arms, strict, strict=True):
            if arm not in controls and max(sign * sure.low, sign * sure.high) < least:
                falls.append((sign * sure.mean, StartFall(arm, score, panel.intervals[arm], truth)))
    return [fall for _, fall in sorted(falls, key=lambda found: found[0])]


def describe_start_falls(falls: list[StartFall], gathered: Gathered, family: str) -> str:
    """Describe the falls in words; empty without any."""
    if not falls:
        return ""
    labels = {arm.name: arm.label for arm in gathered.arms}
    arms = list(dict.fromkeys(fall.arm for fall in falls))
    shown = [
        f"“{labels[fall.arm]}” {score_title(fall.score)} {fall.change.mean:+.3f} [{fall.change.low:+.3f}, "
        f"{fall.change.high:+.3f}]".replace("-", "−")
        for fall in falls[:_SHOWN]
    ]
    more = f" and {len(falls) - _SHOWN} more" if len(falls) > _SHOWN else ""
    lose = "arms lose" if len(arms) > 1 else "arm loses"
    return (
        f"Drift does not count what {len(arms)} {lose} between the given frame and the mean of the first "
        f"{100 * FRACTION:.0f} %: {', '.join(shown)}{more}. Read the drift against the given frame (table "
        f"drift-given-{family}) and the curves over video time."
    )
