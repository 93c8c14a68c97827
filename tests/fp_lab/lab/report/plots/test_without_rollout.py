"""The picture of influence has room for what stands around its bars. Warnings are errors."""

from pathlib import Path

import pytest

from fp_lab.lab.compare.without_rollout import ArmLevelInfluence
from fp_lab.lab.report.plots.style import looks
from fp_lab.lab.report.plots.without_rollout import draw_influence
from fp_lab.lab.results.arms import Arm
from fp_lab.recipe import parse
from fp_metrics import Interval

LONG = "vanilla · released, " + "history.source=resampled, sampling.recency.beta=0.1, " * 3


@pytest.mark.parametrize("levels", [1, 3])
def test_arms_with_long_labels_have_room(levels: int, tmp_path: Path) -> None:
    names = [f"td_f{number}k1_g9" for number in range(1, 8)]
    arms = [Arm(name, parse(name), f"{LONG}{name}", None, (0,), ()) for name in names]
    reading = Interval(0.5, 0.3, 0.7, 0.95, 16, reliable=True)
    found = [
        ArmLevelInfluence(arm, f"f{level}k1", level, reading, reading, unread=True)
        for arm in arms
        for level in range(1, 1 + levels)
    ]
    assert draw_influence(found, looks(arms), tmp_path / "influence.png").is_file()
