"""Reports of arms with three trainings: bands and intervals are about the recipe, by Student's t."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fake_runs import VANILLA
from fp_lab.lab.forgetting_table import forgetting_table, gather_forgetting
from fp_lab.lab.gathered import Gathered, gather
from fp_lab.lab.report.plots import Curves
from made_up_scores import Figures, made_up_grid

LEVELS = 0.5, 0.9, 0.6
"""Of three trainings, each the same for all its videos and frames: prompts tell nothing of their spread."""
LOW, HIGH = stats.t.interval(0.95, 2, np.mean(LEVELS), stats.sem(LEVELS))
PROMPTS = [f"prompt {number}" for number in range(4)]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    grid = made_up_grid(
        tmp_path_factory.mktemp("grid"), {VANILLA: Figures()}, videos=4, seeds=(0, 1, 2), families=()
    )
    for seed, level in enumerate(LEVELS):
        scores = grid / VANILLA / f"seed{seed}" / "scores"
        pd.read_parquet(scores / "frames.parquet").assign(value=level).to_parquet(scores / "frames.parquet")
        write_returns(scores, level)
    return gather([grid])


def write_returns(scores: Path, agreement: float) -> None:
    """An object that stays in sight agrees wholly, one that comes back by so much."""
    known = {"kind": "object", "psnr": 20.0, "weight": 1.0, "reason": None}
    video = [known | {"gap": 0, "agreement": 1.0}, known | {"gap": 9, "agreement": agreement}]
    content = {"clusters": PROMPTS, "histories": {"own": [video] * len(PROMPTS)}}
    (scores / "forgetting.json").write_text(json.dumps(content))


def test_bands_of_curves_hold_the_spread_of_trainings(gathered: Gathered) -> None:
    curve = Curves(gathered).of(VANILLA, "own", "companion/psnr")
    assert curve is not None
    assert curve.effects.mean == pytest.approx(np.mean(LEVELS))
    assert curve.first == pytest.approx(np.mean(LEVELS))
    assert curve.band[0] == pytest.approx(LOW)
    assert curve.band[1] == pytest.approx(HIGH)


def test_forgetting_holds_the_spread_of_trainings(gathered: Gathered) -> None:
    (found,) = gather_forgetting(gathered)
    agreement, forgotten = found.kinds["own", "object"].agreement, found.kinds["own", "object"].forgotten
    assert [agreement.low, agreement.high] == pytest.approx([LOW, HIGH])
    assert [forgotten.low, forgotten.high] == pytest.approx([1 - HIGH, 1 - LOW])
    assert [one.agreement.high for one in found.kinds["own", "object"].bins if one.videos] == pytest.approx(
        [HIGH]
    )
    cell = forgetting_table(gathered, [found]).lines[0].cells[0]
    assert [cell.low, cell.high] == pytest.approx([LOW, HIGH])
