"""One pass over a video: rows, drift, flags, errors, and the project's own world."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_data.worlds import COLOURS, DIRECTIONS, SPEEDS, WorldConfig, render, sprite_template
from fp_metrics import FAMILIES, About, Series, WorldTruth, choose, protocol, score_video

BOTH = ("plain", "world")


def chunks(video: Tensor, size: int) -> Iterator[Tensor]:
    yield from video.split(size)


def test_one_pass_gives_series_drift_flags_and_rows(
    video: Tensor, truth: WorldTruth, measure: Callable[..., Series]
) -> None:
    order = [*range(15, 24), *range(6, 15), *range(1, 6)]
    scores = score_video(chunks(video, 5), families=BOTH, about=About(truth=truth), length=24, order=order)
    assert set(scores.series) == {name for family in BOTH for name in FAMILIES[family]}
    assert set(scores.drift) == set(scores.generation_drift) == set(scores.series)
    assert scores.drift["world/shape-iou"].frames == 3
    assert scores.drift["world/shape-iou"].order == "temporal"
    assert scores.generation_drift["world/shape-iou"].order == "generation"
    assert not scores.flags.frozen
    for name in ("world/shape-iou", "world/speed-reached", "plain/hog-colour-to-first"):
        np.testing.assert_array_equal(scores.series[name].values, measure(name, video).values)
    rows = scores.to_rows()
    assert len(rows) == sum(len(series.values) for series in scores.series.values())
    sharp = [row for row in rows if row["estimator"] == "plain/denoised-sharpness"]
    assert [row["frame"] for row in sharp] == list(range(24))
    assert {(row["score"], row["family"]) for row in sharp} == {("clarity", "plain")}
    np.testing.assert_array_equal(
        [row["value"] for row in sharp], scores.series["plain/denoised-sharpness"].values
    )


def test_single_frames_and_one_batch_score_the_same(video: Tensor, truth: WorldTruth) -> None:
    first = score_video(iter(video[:7]), families=BOTH, about=About(truth=truth), length=7)
    second = score_video([video[:7]], families=BOTH, about=About(truth=truth), length=7)
    for name, series in first.series.items():
        np.testing.assert_array_equal(series.values, second.series[name].values)
        np.testing.assert_array_equal(first.drift[name].signed, second.drift[name].signed)
    assert first.flags == second.flags
    assert first.generation_drift == {}


def test_an_object_that_vanishes_at_the_end_is_drift(video: Tensor, truth: WorldTruth) -> None:
    background = truth.backgrounds[0].movedim(-1, 0).float() / 255
    gone = torch.cat((video[:16], background.expand(8, -1, -1, -1)))
    scores = score_video([gone], families=("world",), about=About(truth=truth), length=24)
    for name in ("world/shape-iou", "world/look-against-first", "world/caption-readback"):
        assert scores.drift[name].signed < -0.9
    assert abs(scores.drift["world/render-sharpness"].signed) < 0.7
    summary = {row["estimator"]: row for row in scores.to_summary()}
    assert summary["world/shape-iou"]["drift"] == scores.drift["world/shape-iou"].signed
    assert summary["world/shape-iou"]["value"] == scores.series["world/shape-iou"].score
    assert summary["world/shape-iou"]["frozen_from"] == 16


def test_a_short_video_is_undefined_where_it_must_be_never_zero(video: Tensor) -> None:
    scores = score_video([video[:1]], length=1)
    for name, series in scores.series.items():
        defined = FAMILIES["plain"][name]().least_frames == 1 and not name.startswith("plain/no-")
        assert np.isfinite(series.score) == defined, name
        assert (series.reason is None) == defined
        assert (scores.drift[name].reason is None) == defined


def test_scores_can_be_chosen(video: Tensor) -> None:
    scores = score_video([video[:4]], length=4, metrics=["clarity", "plain/dis-top5-flow"])
    assert set(scores.series) == {"plain/denoised-sharpness", "plain/dis-top5-flow"}
    with pytest.raises(ValueError, match=r"family 'papers', expected .*plain, "):
        choose(("papers",))
    with pytest.raises(ValueError, match=r"score .*'beauty', expected .*clarity, aesthetic"):
        choose(("plain",), ["beauty"])


@pytest.mark.parametrize(("length", "came"), [(5, "more"), (9, "7")])
def test_another_number_of_frames_is_refused(video: Tensor, length: int, came: str) -> None:
    with pytest.raises(ValueError, match=f"got {came} frames, expected length={length}"):
        score_video([video[:7]], length=length, metrics=["aesthetic"])


def test_a_truth_that_is_missing_or_too_short_is_refused(video: Tensor, truth: WorldTruth) -> None:
    with pytest.raises(ValueError, match="truth=None"):
        score_video([video], families=("world",), length=24)
    with pytest.raises(ValueError, match=r"truth .*\b24 frames.* 30\b"):
        score_video([video], families=("world",), about=About(truth=truth), length=30)


def test_protocol_is_plain_data_that_names_every_estimator() -> None:
    described = protocol()
    assert set(described["estimators"]) == {name for family in FAMILIES.values() for name in family}
    assert described["estimators"]["plain/dis-top5-flow"]["observations"] == 2
    assert set(protocol(["plain"])["estimators"]) == set(FAMILIES["plain"])
    assert "0.15" in described["segments"]


@pytest.mark.parametrize("field", ["frames", "masks", "positions", "backgrounds", "colour", "view"])
def test_a_truth_that_does_not_fit_together_is_refused(field: str, truth: WorldTruth) -> None:
    wrong = {
        "frames": truth.frames.float(),
        "masks": truth.masks[:-1],
        "positions": truth.positions[:, :1],
        "backgrounds": truth.backgrounds.expand(3, -1, -1, -1),
        "colour": (0.0, 0.0, 0.0),
        "view": truth.positions[:3],
    }
    with pytest.raises(ValueError, match=field):
        replace(truth, **{field: wrong[field]})


def test_true_videos_of_the_projects_world_score_full_marks() -> None:
    config = WorldConfig(frames=12)
    world = render(config, [1, 3])
    for index, scene in enumerate(world.scenes):
        sprite = scene.sprites[0]
        x, y = DIRECTIONS[sprite.direction]
        truth = WorldTruth(
            frames=world.frames[index],
            backgrounds=world.backgrounds[index],
            masks=world.masks[index, :, 0],
            positions=world.positions[index, :, 0],
            shape=sprite_template(config, sprite)[0],
            colour=sprite.rgb,
            second_colour=sprite.second_rgb,
            palette=tuple(COLOURS.values()),
            texture=sprite.texture,
            radius=sprite.radius,
            speed=SPEEDS[sprite.speed],
            direction=(float(x), float(y)),
        )
        video = world.frames[index].movedim(-1, 1).float() / 255
        scores = score_video([video], families=("world",), about=About(truth=truth), length=12).series
        for name in (
            "render-sharpness",
            "shape-iou",
            "look-against-first",
            "caption-readback",
            "speed-reached",
        ):
            assert scores[f"world/{name}"].score > 0.93, (name, scene.caption)
