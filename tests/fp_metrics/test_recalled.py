"""What comes back in still scenes: made-up videos that recall all, nothing, or what was hidden briefly."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_data.worlds import COLOURS, WorldConfig, describe, still_scenes
from fp_lab.lab.scoring.world_truth import scene_truths
from fp_metrics import SceneTruth
from fp_metrics.forgetting import ForgettingMeter
from fp_metrics.recalled import ObjectMemory, tells
from fp_metrics.returning import ssim_within
from fp_metrics.returns import Forgetting

WORLDS = {"curtain": WorldConfig(variant="curtain"), "walk": WorldConfig(variant="walk")}
SEEDS = {"curtain": (0, 1, 2, 3), "walk": (0, 3)}
STRANGERS = 1000  # seeds of other scenes begin here
HELD = 16  # frames that a short memory lasts


@cache
def truths(variant: str) -> tuple[SceneTruth, ...]:
    return scene_truths(WORLDS[variant], SEEDS[variant])


@cache
def other(variant: str, seed: int) -> Tensor:
    """Another scene, float32 ``(3, h, w)``."""
    picture = still_scenes(WORLDS[variant], [STRANGERS + seed])[0][0]
    return picture.movedim(-1, 0).float() / 255


def pixels(truth: SceneTruth) -> Tensor:
    return truth.frames.movedim(-1, 1).float() / 255


def watch(truth: SceneTruth, video: Tensor, shown: list[int] | None = None) -> Forgetting:
    meter = ForgettingMeter(truth, shown)
    meter.update(video)
    return meter.compute()


def remembering(truth: SceneTruth, variant: str, frames: int) -> Tensor:
    """Each pixel that was hidden for more than so many frames comes back as that of another scene."""
    video, (height, width) = pixels(truth).clone(), truth.background.shape[:2]
    scene, last = torch.zeros(height, width, dtype=torch.int64), torch.full((height, width), -1)
    for position in range(truth.length):
        sight = torch.zeros(height, width, dtype=torch.bool)
        truth.seen(sight, position)[:] = ~truth.covered[position]
        away = position - 1 - last
        scene += (sight & (last >= 0) & (away > frames)).long()
        last[sight] = position
        for number in range(1, int(scene.max()) + 1):
            strange = truth.seen(scene == number, position) & ~truth.covered[position]
            video[position][:, strange] = truth.seen(other(variant, number), position)[:, strange]
    return video


def told(found: list[Forgetting], gaps: range = range(1, 99)) -> list[float]:
    return [r.agreement for one in found for r in one.returns if r.kind == "told" and r.gap in gaps]


@pytest.mark.parametrize("variant", ["curtain", "walk"])
def test_the_truth_recalls_all_and_each_object_is_told(variant: str) -> None:
    found = [watch(truth, pixels(truth)) for truth in truths(variant)]
    for one in found:
        for kind in ("place", "recall"):
            assert one.mean(kind) == pytest.approx(1, abs=1e-4)
            assert one.mean(kind, "psnr") == pytest.approx(100)
            assert one.forgotten(kind) == pytest.approx(0, abs=1e-4)
    assert len(told(found)) >= 5
    assert set(told(found)) == {1}


@pytest.mark.parametrize("variant", ["curtain", "walk"])
def test_scenes_that_come_back_as_others_agree_no_more_than_any_two(variant: str) -> None:
    """Chance: likeness of strips as wide as a curtain's step, and the mean squared error, of whole scenes."""
    found = [watch(truth, remembering(truth, variant, 0)) for truth in truths(variant)]
    scenes = [one.movedim(-1, 0).float() / 255 for one in still_scenes(WORLDS[variant], SEEDS[variant])[0]]
    strange = other(variant, 1)
    strips = [zip(one.split(4, -1), strange.split(4, -1), strict=True) for one in scenes]
    whole = torch.ones(64, 4, dtype=torch.bool)
    alike = [np.mean([float(ssim_within(a, b, whole).mean()) for a, b in pairs]) for pairs in strips]
    noise = [-10 * math.log10(float((one - strange).square().mean())) for one in scenes]
    for index, one in enumerate(found):
        for kind in ("place", "recall"):
            assert one.mean(kind) == pytest.approx(alike[index], abs=0.12)
            assert one.mean(kind, "psnr") == pytest.approx(noise[index], abs=3)
            assert one.forgotten(kind) > 0.1
    assert len(told(found)) >= 5
    assert set(told(found)) == {0}


@pytest.mark.parametrize("variant", ["curtain", "walk"])
def test_a_memory_of_so_many_frames_recalls_what_was_hidden_no_longer(variant: str) -> None:
    """Pixels that come back once more are compared with what they were taken for."""
    near, far = (
        range(1, HELD + 1),
        range(HELD + 3, 99),
    )  # beside its edge a pixel is not clear, which makes its gap longer
    found = [watch(truth, remembering(truth, variant, HELD)) for truth in truths(variant)]
    for one in found:
        for kind in ("place", "recall"):
            assert one.mean(kind, gaps=near) == pytest.approx(1, abs=1e-4)
            assert one.mean(kind, "psnr", near) > 99
            assert one.mean(kind, gaps=far) < 0.7
            assert one.mean(kind, "psnr", far) < 20
    assert set(told(found, range(HELD + 7, 99))) == {0}  # an object is as long on its way behind the curtain
    if variant == "curtain":
        assert set(told(found, range(HELD + 4))) == {1}


def test_what_was_never_shown_truly_is_no_recall() -> None:
    """From frame 1 on another scene, and always the same: it agrees with itself, and not with the truth."""
    truth = truths("curtain")[0]
    drifted = pixels(truth)
    drifted[1:] = torch.where(truth.covered[1:, None], drifted[1:], other("curtain", 1))
    given = watch(truth, drifted, [1] * truth.length)
    assert given.mean("place") > 0.95, "but what was hidden from frame 1 on"
    assert given.mean("recall") < 0.6
    assert set(told([given])) == {0}
    nothing = watch(truth, drifted, [0] * truth.length)
    assert nothing.mean("place") == given.mean("place")
    assert nothing.undefined("recall") == "no place that was shown truly is hidden and returns"
    assert nothing.undefined("told") == "no object that was shown truly is hidden and returns"
    assert watch(truth, drifted, [truth.length] * truth.length).returns == (), "given frames are no memory"


def test_the_gap_is_how_long_a_pixel_was_behind_the_curtain_and_its_edge() -> None:
    """x pixels from its side: 2 (68 - x) / speed frames, and while 3 pixels beside it are covered."""
    for seed, truth in zip(SEEDS["curtain"], truths("curtain"), strict=True):
        speed = {"slowly": 3, "fast": 5}[describe(WORLDS["curtain"], seed).sweep.speed]
        once = watch(truth, pixels(truth)[: 2 * 68 // speed + 1])
        gaps = [one.gap for one in once.returns if one.kind == "place" and one.gap > 0]
        assert max(gaps) == pytest.approx(2 * (68 + 3 - 6) / speed, abs=2)
        assert min(gaps) == pytest.approx(2 * (68 + 3 - 63) / speed, abs=2)


def test_a_lump_of_the_right_colour_is_not_told_for_its_shape() -> None:
    """The probe is shown more than the true outline, which would give the shape away."""
    for truth in truths("curtain"):
        for index, thing in enumerate(truth.objects):
            known = ObjectMemory(truth, index)
            frame = truth.frame(0).clone()
            assert tells(known.picture(frame, 0), thing)
            y, x = torch.arange(64)[:, None] - thing.centre[1], torch.arange(64) - thing.centre[0]
            lump = x.square() + y.square() < (1.4 * thing.radius) ** 2
            frame[:, lump] = torch.tensor(COLOURS[thing.colour])[:, None]
            if thing.shape != "ball":
                assert not tells(known.picture(frame, 0), thing)


def test_a_truth_that_does_not_fit_together_is_refused() -> None:
    truth = truths("curtain")[0]
    with pytest.raises(ValueError, match=r"covered .*\bview .*expected \(t, h, w\) .*\(t, 2\)"):
        replace(truth, view=truth.view[1:])
    with pytest.raises(ValueError, match=r"view .*\bpixels.* int64"):
        replace(truth, view=truth.view.float())
    with pytest.raises(ValueError, match="variant plain, expected"):
        still_scenes(WorldConfig(), [0])
