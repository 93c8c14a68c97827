"""Forgetting in small scenes drawn here: gaps by hand; what is forgotten lowers its figure, nothing else."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from fp_data.worlds import WorldConfig
from fp_lab.lab.scoring.world_truth import world_truths
from fp_metrics import WorldTruth, cluster_interval
from fp_metrics.forgetting import ForgettingMeter
from fp_metrics.returning import ssim_within
from fp_metrics.returns import Forgetting, Return, summarise_forgetting

SIDE, RADIUS = 48, 8.0
RED, BLUE = (0.9, 0.2, 0.2), (0.2, 0.2, 0.9)


def scene(
    views: list[int],
    *,
    xs: list[float] | None = None,
    pillar: tuple[int, int] | None = None,
    colour: tuple[float, float, float] = RED,
    looks: list[tuple[float, float, float]] | None = None,
) -> WorldTruth:
    """A disc before a wavy scene twice as wide as the view.

    Args:
        views: how far to the right the view is, per frame.
        xs: the disc's centre in the scene; it stands at 24 by default.
        pillar: columns of the scene that hide the disc.
        colour: the disc's.
        looks: another colour per frame, of a video that is not the true one.
    """
    t = len(views)
    xs = [24.0] * t if xs is None else xs
    y, x = np.indices((SIDE, 3 * SIDE)).astype(float)
    wave = 0.15 * np.sin(x / 3) * np.cos(y / 4)
    wide = np.stack([0.45 + wave, 0.45 + 0.5 * wave, 0.4 + 0.1 * x / SIDE], -1)
    column = np.zeros((SIDE, 3 * SIDE), bool)
    if pillar is not None:
        column[:, pillar[0] : pillar[1]] = True
        wide[column] = 0.1
    frames, masks, backgrounds = [], [], []
    for index, (view, at) in enumerate(zip(views, xs, strict=True)):
        disc = (np.hypot(x - at, y - 24) < RADIUS) & ~column
        picture = np.where(disc[..., None], colour if looks is None else looks[index], wide)
        inside = slice(view, view + SIDE)
        frames.append(picture[:, inside])
        masks.append(disc[:, inside])
        backgrounds.append(wide[:, inside])
    middle = (SIDE - 1) / 2
    return WorldTruth(
        frames=_bytes(frames),
        backgrounds=_bytes(backgrounds),
        masks=torch.from_numpy(np.stack(masks)),
        positions=torch.tensor([[at - view, 24.0] for at, view in zip(xs, views, strict=True)]),
        shape=torch.from_numpy(np.hypot(x[:, :SIDE] - middle, y[:, :SIDE] - middle) < RADIUS),
        colour=colour,
        second_colour=colour,
        palette=(RED, BLUE),
        texture="plain",
        radius=RADIUS,
        speed=1.0,
        direction=(1.0, 0.0),
        view=torch.tensor([[float(view), 0.0] for view in views]),
    )


def _bytes(pictures: list[np.ndarray]) -> Tensor:
    return torch.from_numpy((np.stack(pictures) * 255).round().astype(np.uint8))


def pixels(truth: WorldTruth) -> Tensor:
    return truth.frames.movedim(-1, 1).float() / 255


def watch(truth: WorldTruth, video: Tensor | None = None, chunk: int = 8) -> Forgetting:
    meter = ForgettingMeter(truth)
    for frames in (pixels(truth) if video is None else video).split(chunk):
        meter.update(frames)
    return meter.compute()


def back(found: Forgetting, kind: str) -> list[Return]:
    """What came back, without what stayed."""
    return [one for one in found.returns if one.kind == kind and one.gap > 0]


REVISIT = [0] * 10 + [72] * 7 + [0] * 8


@pytest.fixture(scope="module")
def revisit() -> WorldTruth:
    """The camera cuts away for the frames 10 to 16."""
    return scene(REVISIT)


def test_a_true_revisit_forgets_nothing(revisit: WorldTruth) -> None:
    found = watch(revisit)
    (seen,) = back(found, "object")
    assert (seen.gap, seen.weight, seen.reason) == (7, 1, None)
    assert seen.agreement == pytest.approx(1)
    assert seen.psnr == 100
    (place,) = back(found, "place")
    assert (place.gap, place.reason) == (7, None)
    assert place.agreement == pytest.approx(1, abs=1e-4)
    assert place.psnr == pytest.approx(100)
    # the whole view but the disc and 3 pixels around it (a square window)
    assert 1 - (2 * RADIUS + 7) ** 2 / SIDE**2 < place.weight < 1 - math.pi * RADIUS**2 / SIDE**2
    for kind in ("object", "place"):
        assert found.forgotten(kind) == pytest.approx(0, abs=1e-4)
        assert found.undefined(kind) is None


def test_an_object_that_returns_in_another_colour_is_forgotten_and_its_place_is_not(
    revisit: WorldTruth,
) -> None:
    changed = pixels(scene(REVISIT, looks=[RED] * 17 + [BLUE] * 8))
    found = watch(revisit, changed)
    (seen,) = back(found, "object")
    assert seen.agreement < 0.45
    assert seen.psnr < 6
    assert found.forgotten("object") > 0.55
    assert found.forgotten("place") == pytest.approx(0, abs=1e-3)


def test_a_place_that_returns_as_another_is_forgotten_and_its_object_is_not(revisit: WorldTruth) -> None:
    video = pixels(revisit).clone()
    other = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.4
    video[17:] = torch.where(revisit.masks[17:, None], video[17:], other)
    found = watch(revisit, video)
    (place,) = back(found, "place")
    assert place.agreement < 0.2
    assert place.psnr < 15
    assert found.forgotten("place") > 0.7


def test_what_returns_is_compared_with_this_video_not_with_the_truth(revisit: WorldTruth) -> None:
    """A model that made the disc blue from the start, and keeps it so, has forgotten nothing."""
    found = watch(revisit, pixels(scene(REVISIT, looks=[BLUE] * 25)))
    (seen,) = back(found, "object")
    assert seen.agreement == pytest.approx(1)
    turned = watch(revisit, pixels(scene(REVISIT, looks=[BLUE] * 10 + [RED] * 15)))
    assert back(turned, "object")[0].agreement < 0.45, "true again, but not what was seen"


def test_an_object_that_does_not_return_is_wholly_forgotten(revisit: WorldTruth) -> None:
    video = pixels(revisit).clone()
    empty = revisit.backgrounds.movedim(-1, 1).float() / 255
    video[17:] = empty[17:]
    (seen,) = back(watch(revisit, video), "object")
    assert (seen.agreement, seen.psnr, seen.reason) == (0, 0, None)


def test_an_object_that_was_gone_before_is_undefined_with_a_reason(revisit: WorldTruth) -> None:
    video = pixels(revisit).clone()
    empty = revisit.backgrounds.movedim(-1, 1).float() / 255
    video[5:] = empty[5:]
    found = watch(revisit, video)
    (seen,) = back(found, "object")
    assert math.isnan(seen.agreement)
    assert seen.reason == found.undefined("object") == "the object was gone before it was hidden"
    assert math.isnan(found.mean("object"))
    assert found.undefined("place") is None


def test_a_scene_in_which_nothing_is_hidden_has_no_figure() -> None:
    found = watch(scene([0] * 12))
    assert [one.gap for one in found.returns] == [0, 0]
    for kind in ("object", "place"):
        assert math.isnan(found.mean(kind))
        assert math.isnan(found.forgotten(kind))
        assert found.undefined(kind) == f"no {kind} is hidden and returns"
    assert watch(scene([0])).returns == ()


def test_a_pillar_hides_an_object_for_as_long_as_it_is_not_whole() -> None:
    xs = [float(at) for at in range(9, 41)]
    truth = scene([0] * 32, xs=xs, pillar=(22, 28))
    shown = (truth.masks.flatten(1).sum(1) / truth.area).tolist()
    whole = [index for index, share in enumerate(shown) if share >= 0.9]
    (gap,) = {after - before - 1 for before, after in pairwise(whole)} - {0}
    found = watch(truth)
    (seen,) = back(found, "object")
    assert seen.gap == gap > 10
    assert seen.agreement > 0.97
    forgetful = [RED] * 16 + [BLUE] * 16  # it changes behind the pillar
    changed = watch(truth, pixels(scene([0] * 32, xs=xs, pillar=(22, 28), looks=forgetful)))
    assert back(changed, "object")[0].agreement < 0.45
    # a pillar of 2 pixels never hides a quarter of it
    assert back(watch(scene([0] * 32, xs=xs, pillar=(22, 24))), "object") == []


def test_the_gap_of_a_place_is_how_long_each_column_was_out_of_view() -> None:
    views = [0, 4, 8, 12, 12, 12, 8, 4, 0]
    found = watch(scene(views, xs=[200.0] * 9))  # the disc is far away
    # columns 0-3 are out of view in the frames 1 to 7, 4-7 in 2 to 6, 8-11 in 3 to 5; 48-59 never return
    places = back(found, "place")
    assert [(one.gap, round(one.weight * SIDE)) for one in places] == [(3, 4), (5, 4), (7, 4)]
    assert all(one.agreement == pytest.approx(1, abs=1e-4) for one in places)
    assert back(found, "object") == []


def test_a_place_behind_the_object_returns_too() -> None:
    truth = scene([0] * 40, xs=[float(at) for at in range(0, 40)])
    places = back(watch(truth), "place")
    assert max(one.gap for one in places) <= 2 * RADIUS + 7
    assert all(one.agreement == pytest.approx(1, abs=1e-3) for one in places)


def test_an_object_beside_its_true_path_is_not_taken_for_the_place() -> None:
    """A disc that lags 6 pixels behind: neither its pixels nor what it uncovers are forgotten place."""
    xs = [float(at) for at in range(8, 40)]
    lagging = pixels(scene([0] * 32, xs=[at - 6 for at in xs]))
    found = watch(scene([0] * 32, xs=xs), lagging)
    assert found.mean("place") == pytest.approx(1, abs=1e-3)


def test_fractions_of_a_pixel_hardly_cost_agreement() -> None:
    truth = world_truths(WorldConfig(frames=48, variant="camera"), [0, 1])[1]
    assert float((truth.offsets % 1).max()) > 0.1
    found = watch(truth)
    assert found.mean("place") > 0.99
    assert found.mean("place", "psnr") > 50


def test_noise_is_no_forgetting(revisit: WorldTruth) -> None:
    video = pixels(revisit)
    noisy = (video + 0.03 * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    found = watch(revisit, noisy)
    assert found.mean("place") < 0.9, "noise costs agreement ..."
    assert found.forgotten("place") == pytest.approx(0, abs=0.02), "... but as much of what stays in sight"
    assert found.forgotten("object") == pytest.approx(0, abs=0.02)


def test_chunks_of_any_size_give_the_same_and_frames_are_not_kept(revisit: WorldTruth) -> None:
    assert watch(revisit, chunk=1) == watch(revisit, chunk=25)
    video = pixels(revisit).clone()
    meter = ForgettingMeter(revisit)
    meter.update(video[:12])
    video[:12] = 0  # the caller may use its memory again
    meter.update(video[12:])
    assert meter.compute() == watch(revisit)


def test_a_video_longer_than_its_truth_is_refused(revisit: WorldTruth) -> None:
    with pytest.raises(ValueError, match=r"truth .*\b25 frames.*\b26\b"):
        watch(revisit, torch.zeros(26, 3, SIDE, SIDE), chunk=26)
    with pytest.raises(ValueError, match="expected"):
        ForgettingMeter(revisit).update(torch.zeros(2, 3, SIDE, SIDE).byte())


def test_what_is_remembered_worse_the_longer_it_was_away_has_a_falling_curve() -> None:
    """Columns of a pan return after 1 to 39 frames, the more unlike themselves the longer they were away."""
    views = [*range(0, 40, 2), *range(40, -1, -2)]
    truth = scene(views, xs=[200.0] * len(views))
    other = torch.rand(len(views), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    last: dict[int, int] = {}
    video = pixels(truth).clone()
    for index, view in enumerate(views):
        for column in range(SIDE):
            gap = index - last.get(view + column, index) - 1
            if gap > 0:
                kept = math.exp(-gap / 60)
                shown = video[index, :, :, column]
                video[index, :, :, column] = kept * shown + (1 - kept) * other[index, :, :, column]
            last[view + column] = index
    summary = summarise_forgetting([watch(truth, video)], "place", gaps=[1, 8, 16, 32], floor=[watch(truth)])
    curve = [one.agreement.mean for one in summary.bins]
    assert all(near > far + 0.05 for near, far in pairwise(curve)), curve
    assert summary.floor is not None
    assert min(one.agreement.mean for one in summary.floor.bins) > 0.99


@pytest.mark.parametrize("variant", ["occlusion", "camera", "revisit"])
def test_true_videos_of_the_projects_worlds_forget_little(variant: str) -> None:
    """Seed 1 moves behind its pillar. What shows through the pillar's soft edges is no place."""
    truth, stranger = world_truths(WorldConfig(frames=64, variant=variant), [1, 8])
    found = watch(truth)
    assert found.mean("object") > 0.95
    assert found.mean("place") > 0.995
    half = pixels(truth).clone()
    half[32:] = pixels(stranger)[32:]  # from half time on another world
    worse = watch(truth, half)
    assert worse.mean("object") < 0.7
    assert worse.mean("place") < found.mean("place") - 0.1
    assert worse.mean("place", "psnr") < found.mean("place", "psnr") - 20


def one(kind: str, gap: int, agreement: float, weight: float = 1.0, reason: str | None = None) -> Return:
    return Return(kind, gap, agreement, 10 * agreement, weight, reason)


def test_summary_golden() -> None:
    nan = float("nan")
    videos = [
        Forgetting(
            (one("place", 0, 0.9), one("place", 3, 0.8, 3.0), one("place", 10, 0.4), one("object", 9, 0.1))
        ),
        Forgetting((one("place", 0, 0.9), one("place", 9, 0.6), one("place", 40, 0.2))),
        Forgetting((one("object", 9, nan, reason="the object was gone before it was hidden"),)),
        Forgetting(()),
    ]
    assert videos[0].mean("place") == pytest.approx((3 * 0.8 + 0.4) / 4)
    errors = [(3 * 10**-0.8 + 10**-0.4) / 4, (10**-0.6 + 10**-0.2) / 2]  # means over pixels
    decibels = [-10 * math.log10(error) for error in errors]
    assert videos[0].mean("place", "psnr") == pytest.approx(decibels[0])
    assert videos[0].forgotten("place") == pytest.approx(0.2)
    summary = summarise_forgetting(videos, "place", gaps=[1, 8, 16], floor=videos[:1])
    for found, expected in ((summary.agreement, [0.7, 0.4]), (summary.psnr, decibels)):
        bounds = cluster_interval(expected)
        assert [found.mean, found.low, found.high] == pytest.approx([bounds.mean, bounds.low, bounds.high])
    assert summary.stayed.mean == pytest.approx(0.9)
    assert summary.forgotten.mean == pytest.approx((0.2 + 0.5) / 2)
    assert [(b.least, b.most, b.videos) for b in summary.bins] == [(1, 7, 1), (8, 15, 2), (16, None, 1)]
    assert [b.agreement.mean for b in summary.bins] == pytest.approx([0.8, 0.5, 0.2])
    assert [b.psnr.mean for b in summary.bins] == pytest.approx([8, 5, 2])
    assert (summary.videos, summary.reasons) == (2, {"no place is hidden and returns": 2})
    assert summary.floor is not None
    assert summary.floor.agreement.mean == pytest.approx(0.7)
    objects = summarise_forgetting(videos, "object", gaps=[1, 16])
    assert objects.agreement.mean == pytest.approx(0.1)
    assert objects.reasons == {
        "no object is hidden and returns": 2,
        "the object was gone before it was hidden": 1,
    }
    assert objects.bins[1].reason == "no object returns after such a gap"
    assert objects.floor is None
    paired = summarise_forgetting(videos[:2], "place", clusters=["a", "a"])
    assert paired.agreement.clusters == 1


def test_summary_of_nothing_is_nan_with_reasons() -> None:
    empty = summarise_forgetting([], "object")
    assert math.isnan(empty.agreement.mean)
    assert all(b.reason for b in empty.bins)
    assert (empty.videos, empty.reasons) == (0, {})
    for gaps in ([], [0, 4], [4, 4], [8, 2]):
        with pytest.raises(ValueError, match=re.escape(f"gaps {gaps}, expected")):
            summarise_forgetting([], "object", gaps=gaps)


def test_ssim_within_a_full_mask_is_skimages() -> None:
    random = torch.Generator().manual_seed(0)
    first = torch.rand(3, 30, 40, generator=random)
    second = (first + 0.2 * torch.randn(3, 30, 40, generator=random)).clamp(0, 1)
    ours = ssim_within(first, second, torch.ones(30, 40, dtype=torch.bool))
    _, reference = structural_similarity(
        first.numpy(), second.numpy(), channel_axis=0, data_range=1, gaussian_weights=True,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    np.testing.assert_allclose(ours[5:-5, 5:-5], reference.mean(0)[5:-5, 5:-5], atol=1e-4)


def test_ssim_within_a_mask_sees_nothing_outside() -> None:
    random = torch.Generator().manual_seed(1)
    first, second = torch.rand(2, 3, 20, 20, generator=random).unbind()
    mask = torch.zeros(20, 20, dtype=torch.bool)
    mask[4:11, 6:9] = True
    spoilt = torch.where(mask, second, 1 - second)
    inside = ssim_within(first, second, mask)[mask]
    torch.testing.assert_close(ssim_within(first, spoilt, mask)[mask], inside)
    assert (ssim_within(first, first, mask)[mask] > 0.999).all()
    # by hand at one pixel: weighted moments over the masked part of its window
    rows, columns = (mask.nonzero()[:, axis] for axis in (0, 1))
    near = (abs(rows - 5) <= 5) & (abs(columns - 7) <= 5)
    weights = torch.exp(-((rows - 5) ** 2 + (columns - 7) ** 2) / (2 * 1.5**2))[near].double()
    weights /= weights.sum()
    values = []
    for channel in range(3):
        x, y = (p[channel][mask][near].double() for p in (first, second))
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        cov = (weights * (x - mx) * (y - my)).sum()
        values.append((2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert float(ssim_within(first, second, mask)[5, 7]) == pytest.approx(float(sum(values) / 3), abs=1e-4)


def test_a_camera_that_does_not_move_and_one_that_has_no_path_are_the_same() -> None:
    truth = scene([0] * 12, xs=[float(at) for at in range(20, 32)])
    assert watch(truth) == watch(replace(truth, view=None))
