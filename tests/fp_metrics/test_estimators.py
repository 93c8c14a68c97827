"""The interface that every estimator keeps, and the registry."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_metrics import FAMILIES, SCORES, About, Estimator, Series

EVERYWHERE = ("plain", "probe", "world")  # families that need nothing but what is shipped
ALL = {name: kind for family in EVERYWHERE for name, kind in FAMILIES[family].items()}
UNDEFINED = {"plain/no-caption-attributes", "plain/no-known-shape"}


def noisy(video: Tensor) -> Tensor:
    return (video + 0.02 * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


@pytest.mark.parametrize("family", EVERYWHERE)
def test_a_family_has_each_of_the_seven_scores_once(family: str) -> None:
    kinds = FAMILIES[family]
    assert sorted(kind.score for kind in kinds.values()) == sorted(SCORES)
    for name, kind in kinds.items():
        assert name == kind.name
        assert name.startswith(f"{kind.family}/")
        assert kind.family == family
        # how much moves has no better direction; whether it moves as the caption asks has one
        assert kind.higher_is_better is (None if name == "plain/dis-top5-flow" else True)


@pytest.mark.parametrize("name", sorted(ALL))
def test_streaming_equals_batch(name: str, video: Tensor, about: About) -> None:
    frames = noisy(video)[:10]
    batch, ones, uneven = (ALL[name](about) for _ in range(3))
    batch.update(frames)
    for frame in frames:
        ones.update(frame[None])
    for first, last in itertools.pairwise((0, 4, 4, 7, 10)):  # one chunk is empty
        uneven.update(frames[first:last])
    expected = batch.compute()
    for streamed in (ones.compute(), uneven.compute()):
        rounding = 1e-5 if name.startswith("probe/") else 0  # networks round differently at other batch sizes
        np.testing.assert_allclose(streamed.values, expected.values, atol=rounding, rtol=rounding)
        np.testing.assert_array_equal(streamed.positions, expected.positions)
        np.testing.assert_allclose(streamed.score, expected.score, atol=rounding, rtol=rounding)


@pytest.mark.parametrize("name", sorted(ALL))
def test_values_stay_in_range_and_keep_their_positions(
    name: str, video: Tensor, measure: Callable[..., Series]
) -> None:
    series = measure(name, noisy(video)[:8])
    kind = ALL[name]
    assert series.span == kind.window
    expected = {1: range(8), 2: range(1, 8), 3: range(1, 7)}[kind.window]
    assert series.positions.tolist() == list(expected)
    finite = series.values[np.isfinite(series.values)]
    assert (len(finite) == 0) == (name in UNDEFINED)
    assert (finite >= 0).all()
    assert kind.unit.startswith("%") or (finite <= 1).all()


@pytest.mark.parametrize("name", sorted(ALL))
def test_too_few_frames_are_undefined_with_a_reason(
    name: str, video: Tensor, about: About, measure: Callable[..., Series]
) -> None:
    least = ALL[name](about).least_frames
    short = measure(name, video[: least - 1])
    assert np.isnan(short.score)
    assert short.reason == f"needs at least {least} frame(s), got {least - 1}"
    enough = measure(name, video[:least])
    assert np.isfinite(enough.score) == (name not in UNDEFINED)


@pytest.mark.parametrize("name", sorted(UNDEFINED))
def test_what_cannot_be_read_from_any_video_says_so(
    name: str, video: Tensor, measure: Callable[..., Series]
) -> None:
    series = measure(name, video[:4])
    assert np.isnan(series.score)
    assert series.coverage == 0
    assert series.reason is not None
    assert series.reason.startswith("needs ")


def test_no_value_looks_across_a_gap(video: Tensor) -> None:
    estimator = ALL["plain/dis-top5-flow"]()
    estimator.update(video[:3], [0, 1, 2])
    estimator.update(video[10:12], [10, 11])
    assert estimator.compute().positions.tolist() == [1, 2, 11]
    scattered = ALL["plain/dis-middle-frame"]()
    scattered.update(video[[0, 2, 4]], [0, 2, 4])
    assert scattered.compute().reason == "needs 3 consecutive frames, got 3 frames but never so many in a row"


def test_reset_forgets_the_first_frame_too(video: Tensor) -> None:
    estimator = ALL["plain/hog-colour-to-first"]()
    estimator.update(video[:3])
    estimator.reset()
    estimator.update(video[12:15])
    series = estimator.compute()
    assert series.positions.tolist() == [0, 1, 2]
    assert series.values[0] == pytest.approx(1, abs=1e-6)


def test_forward_returns_the_series_so_far(video: Tensor) -> None:
    estimator = ALL["plain/dis-top5-flow"]()
    assert estimator(video[:2]).positions.tolist() == [1]
    assert estimator(video[2:4]).positions.tolist() == [1, 2, 3]


def test_a_process_without_frames_can_be_gathered(video: Tensor) -> None:
    kind = ALL["plain/colourfulness-contrast"]
    types: list[torch.dtype] = []

    def gather(state: Tensor, group: object) -> list[Tensor]:
        types.append(state.dtype)
        return [state]

    idle = kind(dist_sync_fn=gather, distributed_available_fn=lambda: True)
    assert idle.compute().reason == "needs at least 1 frame(s), got 0"
    assert types == [torch.float64, torch.int64, torch.int64, torch.float32]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(3, 32, 32), r"frames .*\(3, 32, 32\), expected \(n, 3, h, w\)"),
        (torch.zeros(2, 1, 32, 32), r"frames .*\(2, 1, 32, 32\), expected"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "torch.uint8, expected float32"),
        (torch.full((2, 3, 32, 32), 200.0), r"\[200, 200\], expected \[0, 1\]"),
        (torch.full((2, 3, 32, 32), float("nan")), r"\[nan, nan\], expected \[0, 1\]"),
    ],
)
def test_wrong_frames_are_refused(frames: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ALL["plain/denoised-sharpness"]().update(frames)


def test_wrong_positions_and_a_missing_truth_are_refused(video: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\b1 positions .*\b2 frames"):
        ALL["plain/denoised-sharpness"]().update(video[:2], [0])
    with pytest.raises(ValueError, match=r"truth=None.* WorldTruth"):
        ALL["world/shape-iou"]()


def test_a_series_never_hides_why_it_is_nan() -> None:
    positions = np.arange(2)
    with pytest.raises(ValueError, match=r"NaN .*got nan .*None$"):
        Series(np.zeros(2), positions, float("nan"), "x")
    with pytest.raises(ValueError, match=r"NaN .*got 0\.0 .*'why'$"):
        Series(np.zeros(2), positions, 0.0, "x", reason="why")
    with pytest.raises(ValueError, match=r"length, got \(3,\) .*\(2,\)"):
        Series(np.zeros(3), positions, 0.0, "x")


def test_every_estimator_is_one(about: About) -> None:
    assert all(isinstance(kind(about), Estimator) for kind in ALL.values())
