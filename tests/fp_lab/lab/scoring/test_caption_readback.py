"""What captions of the world say is true of the whole video, and semantic scores hold videos to it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_data.worlds import World, WorldConfig, render
from fp_lab.lab.scoring.world_truth import world_truths
from fp_metrics import About, Series, VideoScores, WorldTruth, score_video

FRAMES, SEEDS = 64, range(500, 532)
READBACKS = ("world/caption-readback", "probe/caption-readback")


@pytest.fixture(scope="module")
def world() -> World:
    return render(WorldConfig(frames=FRAMES), SEEDS)


@pytest.fixture(scope="module")
def truths() -> tuple[WorldTruth, ...]:
    return world_truths(WorldConfig(frames=FRAMES), SEEDS)


def scored(frames: Tensor, caption: str, truth: WorldTruth) -> VideoScores:
    return score_video(
        [frames.movedim(-1, 1).float() / 255],
        length=len(frames),
        families=("world", "probe"),
        metrics=("semantic",),
        about=About(prompt=caption, truth=truth),
    )


def turn(world: World, index: int) -> int:
    """The first frame after the first turn; the video's length where there is none."""
    velocity = world.velocities[index, :, 0]
    back = ((velocity @ velocity[0]) < 0).nonzero()
    return int(back[0]) if len(back) else FRAMES


def test_the_true_video_scores_one_before_and_after_a_turn(
    world: World, truths: tuple[WorldTruth, ...]
) -> None:
    assert sum(turn(world, i) < 0.85 * FRAMES for i in range(len(truths))) > len(truths) / 2
    drifts: dict[str, list[float]] = {name: [] for name in READBACKS}
    for frames, caption, truth in zip(world.frames, world.captions, truths, strict=True):
        made = scored(frames, caption, truth)
        for name in READBACKS:
            assert made.series[name].score > 0.97
            drifts[name].append(made.drift[name].signed)
    for name in READBACKS:
        assert abs(np.mean(drifts[name])) < 0.005, name
        assert np.mean(np.abs(drifts[name])) < 0.005, name


def after(series: Series, frame: int) -> float:
    return float(np.nanmean(series.values[series.positions > frame + 1]))


def test_a_video_that_does_not_turn_back_scores_less_after_the_turn(
    world: World, truths: tuple[WorldTruth, ...]
) -> None:
    """It starts again at the turn, so that it goes on as the caption says it starts, or it stops there."""
    turns = {i: turn(world, i) for i in range(len(truths))}
    tried = [i for i, at in turns.items() if 16 < at < FRAMES - 16][:4]
    assert len(tried) == 4
    for i in tried:
        again = torch.cat((torch.arange(turns[i]), torch.arange(FRAMES - turns[i]) % turns[i]))
        stopped = torch.arange(FRAMES).clamp(max=turns[i])
        for shown in (again, stopped):
            made = scored(truths[i].frames[shown], world.captions[i], truths[i])
            for name, lost in zip(READBACKS, (1 / 4, 1 / 5), strict=True):
                series = made.series[name]
                assert np.nanmean(series.values[series.positions < turns[i] - 1]) > 0.97
                assert after(series, turns[i]) < 1 - 0.4 * lost


def test_a_video_that_starts_the_other_way_scores_less(world: World, truths: tuple[WorldTruth, ...]) -> None:
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    for i in range(4):
        said = world.scenes[i].sprites[0].direction
        caption = world.captions[i].replace(f" {said} ", f" {opposite[said]} ")
        series = scored(world.frames[i], caption, truths[i]).series["probe/caption-readback"]
        first = series.values[: turn(world, i) // 2]
        assert np.mean(first) == pytest.approx(0.8, abs=0.1), caption


@pytest.mark.parametrize("variant", ["occlusion", "camera", "revisit"])
def test_hidden_and_panned_objects_do_not_drift_in_the_truth(variant: str) -> None:
    config = WorldConfig(frames=FRAMES, variant=variant)  # type: ignore[arg-type]
    known, shown = world_truths(config, SEEDS[:3]), render(config, SEEDS[:3])
    for truth, frames, caption in zip(known, shown.frames, shown.captions, strict=True):
        made = scored(frames, caption, truth)
        assert made.series["world/caption-readback"].score > 0.95
        assert abs(made.drift["world/caption-readback"].signed) < 0.12
