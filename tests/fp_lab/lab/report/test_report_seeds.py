"""Reports of arms with three trainings: bands and intervals are about the recipe, by Student's t."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fake_runs import INVERTED, VANILLA
from fp_lab.lab.compare.forgetting import forgetting_table, gather_forgetting
from fp_lab.lab.report.plots.curves import Curves
from fp_lab.lab.results.gather import Gathered, gather
from fp_lab.lab.results.resampling_units import ResamplingUnits
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
        write_level(grid / VANILLA / f"seed{seed}" / "scores", level)
    return gather([grid])


def write_level(scores: Path, agreement: float) -> None:
    """All frames alike; an object that stays in sight agrees wholly, one that comes back by so much."""
    frames = scores / "frames.parquet"
    pd.read_parquet(frames).assign(value=agreement).to_parquet(frames)
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


def test_one_arm_with_fewer_trainings_decides_for_all(tmp_path: Path) -> None:
    """All prompts of a training are alike here, so over prompts alone nothing varies."""
    grid = made_up_grid(
        tmp_path, {VANILLA: Figures(), INVERTED: Figures()}, videos=4, seeds=(0, 1, 2), families=()
    )
    shutil.rmtree(grid / INVERTED / "seed1")
    for seed, level in enumerate(LEVELS):
        write_level(grid / VANILLA / f"seed{seed}" / "scores", level)
    fewer = gather([grid])
    curve = Curves(fewer).of(VANILLA, "own", "companion/psnr")
    assert curve is not None
    assert curve.band == pytest.approx(np.mean(LEVELS))
    (found,) = gather_forgetting(fewer)
    agreement = found.kinds["own", "object"].agreement
    assert [agreement.low, agreement.high] == pytest.approx([np.mean(LEVELS)] * 2)
    assert f"2 ({INVERTED}), 3 ({VANILLA})" in forgetting_table(fewer, [found]).notes[0]


def test_checkpoints_have_the_basis_of_the_step_with_the_fewest_trainings() -> None:
    rows = [("one", seed, step) for seed in range(3) for step in (10, 20) if (seed, step) != (2, 20)]
    videos = pd.DataFrame(rows, columns=["arm", "training_seed", "step"])
    assert ResamplingUnits.of(videos).over_seeds
    assert not ResamplingUnits.of(videos, "step").over_seeds


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
