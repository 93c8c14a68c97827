"""Figures made from stored series: exposure bias, slope, decay, seconds, borders; flags; companions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fp_metrics import COMPANIONS, Flags, Series, exposure_bias
from fp_metrics.curves import (
    border_jump,
    decay_curve,
    in_order,
    seconds_drift,
    slope,
    worst_window,
)
from fp_metrics.flags import STILL, FlagsMeter, loop_period

NAN = float("nan")
INVERTED = [6, 7, 8, 3, 4, 5, 1, 2]
"""Frame 0 was given; sections of three, the last one made first."""


def series(values: list[float], span: int = 1) -> Series:
    data = np.array(values, dtype=np.float64)
    finite = np.isfinite(data).any()
    return Series(
        data,
        np.arange(len(data)) + span // 2,
        float(np.nanmean(data)) if finite else float("nan"),
        "x",
        span,
        None if finite else "none",
    )


def test_inside_asks_for_every_frame_that_a_value_looks_at() -> None:
    pairs, triples = series([1] * 5, span=2), series([1] * 4, span=3)
    assert pairs.positions[pairs.inside({1, 2, 3, 5})].tolist() == [2, 3]
    assert triples.positions[triples.inside({1, 2, 3, 5})].tolist() == [2]


def test_exposure_bias_golden() -> None:
    true_history, own = series([5, 5, 5, 5, 5, 5]), series([5, 5, 4, 3, 1, float("nan")])
    gap = exposure_bias(true_history, own, [(0, 1), (2, 3), (4, 5)])
    assert gap.gaps == (0, 1.5, 4)
    assert gap.mean == pytest.approx(5.5 / 3)
    inverted = exposure_bias(true_history, own, [(4, 5), (2, 3), (0, 1)])
    assert inverted.gaps == (4, 1.5, 0)


def test_exposure_bias_ignores_values_across_sections() -> None:
    true_history, own = series([1, 99, 1], span=2), series([0, 0, 0], span=2)
    gap = exposure_bias(true_history, own, [(0, 1), (2, 3)])
    assert gap.gaps == (1, 1)  # the pair (1, 2) belongs to neither section


def test_exposure_bias_without_values_says_why() -> None:
    gap = exposure_bias(series([1, 1, 1], span=2), series([1, 1, 1], span=2), [(0,), (1,)])
    assert math.isnan(gap.mean)
    assert gap.reason == "no section has a value on both sides"
    with pytest.raises(ValueError, match=r"\bestimator\b.* span"):
        exposure_bias(series([1]), series([1], span=2), [(0,)])


def test_slope_is_numpys(video: Tensor) -> None:
    values = np.random.default_rng(0).normal(size=30)
    expected = np.polyfit(np.arange(30), values, 1)[0]
    assert slope(series(values.tolist())) == pytest.approx(expected)
    assert slope(series([1.0, float("nan"), 2.0])) == pytest.approx(0.5)
    assert math.isnan(slope(series([1.0])))
    assert math.isnan(slope(series([NAN, NAN])))


def test_worst_window_golden() -> None:
    curve = series([5, 1, 2, 9, 0, 9])
    assert (worst_window(curve, 2).first, worst_window(curve, 2).mean) == (1, 1.5)
    best = worst_window(curve, 2, higher_is_better=False)
    assert (best.first, best.mean) == (2, 5.5)
    whole = worst_window(curve, 99)
    assert (whole.first, whole.mean) == (0, pytest.approx(26 / 6))
    assert math.isnan(worst_window(series([float("nan")]), 2).mean)


def test_border_jump_is_the_excess_of_the_change() -> None:
    steps = series([0, 1, 2, 13, 14, 15])
    assert border_jump(steps, [3]) == pytest.approx(11 - 1)
    assert border_jump(series([0, 1, 2, 3]), [2]) == 0
    assert math.isnan(border_jump(steps, []))


def test_decay_curve_golden() -> None:
    curve = decay_curve(series([10, 8, 6, 6, 4, NAN, NAN, NAN]), [0, 2, 4, 6, 7], frames=2)
    assert curve.values[:3] == (9, 6, 4)
    assert curve.start == 9
    assert curve.decay[:3] == (0, -3, -5)
    assert np.isnan(curve.values[3:]).all()
    assert curve.reasons == (None, None, None, "no frame could be measured", "needs 9 frames, got 8")
    assert (curve.distances, curve.frames, curve.order) == ((0, 2, 4, 6, 7), 2, "temporal")
    with pytest.raises(ValueError, match="got frames=0"):
        decay_curve(series([1]), [0], frames=0)
    with pytest.raises(ValueError, match=r"distances \[-1\]"):
        decay_curve(series([1]), [-1], frames=1)


def test_decay_looks_only_at_the_frames_of_a_stretch() -> None:
    pairs = series([1, 99, 3, 99], span=2)  # of the frames 0-1, 1-2, 2-3, 3-4
    assert decay_curve(pairs, [0, 2], frames=2).values == (1, 3)
    alone = decay_curve(pairs, [0], frames=1)
    assert alone.reasons == ("needs 2 consecutive frames in each stretch, got 1 frames",)
    assert math.isnan(alone.start)


def test_decay_in_generation_order_starts_where_generation_did() -> None:
    curve = decay_curve(series([100, 1, 2, 13, 14, 15, 26, 27, 28]), [0, 3, 6], frames=2, order=INVERTED)
    assert curve.values == (26.5, 13.5, 1.5)
    assert curve.decay == (0, -13, -25)
    assert curve.order == "generation"
    pairs = series([1, 99, 99, 3, 3, 99, 6, 6], span=2)
    curve = decay_curve(pairs, [0, 3], frames=3, order=INVERTED)
    assert curve.values == (6, 3)


def test_seconds_drift_golden() -> None:
    ramp = series(list(range(100)))
    result = seconds_drift(ramp, fps=10)
    assert (result.start, result.end, result.signed, result.frames) == (24.5, 74.5, 50, 50)
    assert (result.order, result.reason) == ("temporal", None)
    short = seconds_drift(ramp, fps=10, seconds=5.1)
    assert math.isnan(short.signed)
    assert short.reason == "needs 102 frames for 5.1 s against 5.1 s at 10 fps, got 100"
    inverted = seconds_drift(ramp, fps=10, seconds=2, order=range(99, -1, -1))
    assert (inverted.start, inverted.end, inverted.order) == (89.5, 9.5, "generation")
    gone = seconds_drift(series([1.0] * 10 + [NAN] * 10), fps=10, seconds=1)
    assert (gone.start, gone.reason) == (1, "last: no frame could be measured")
    assert seconds_drift(series([]), 24).reason == "needs 240 frames for 5 s against 5 s at 24 fps, got 0"


def test_values_stand_in_the_order_they_came_to_be() -> None:
    frames = in_order(series([0, 1, 2, 3, 4, 5, 6, 7, 8]), INVERTED)
    assert frames.values.tolist() == [6, 7, 8, 3, 4, 5, 1, 2]
    assert frames.positions.tolist() == list(range(8))
    assert (frames.score, frames.span, frames.reason) == (4.5, 1, None)
    # a pair comes to be with its later made frame; 0-1 looks at the given one
    pairs = in_order(series([1, 12, 23, 34, 45, 56, 67, 78], span=2), INVERTED)
    assert pairs.values.tolist() == [67, 78, 34, 45, 56, 12, 23]
    assert pairs.positions.tolist() == [1, 2, 4, 5, 5, 7, 7]
    nothing = in_order(series([1.0, 2.0], span=2), [1])
    assert nothing.reason == "no value looks only at frames that were made"
    assert len(nothing.values) == 0


@given(st.permutations(range(7)), st.integers(1, 3))
def test_reordering_keeps_every_value_and_back_is_back(order: list[int], span: int) -> None:
    curve = series(list(range(8 - span)), span)
    moved = in_order(curve, order)
    assert sorted(moved.values) == curve.values.tolist()
    assert (np.diff(moved.positions) >= 0).all()
    assert moved.score == pytest.approx(curve.score)
    if span == 1:
        back = in_order(moved, [order.index(frame) for frame in range(7)])
        assert back.values.tolist() == curve.values.tolist()


def test_errors_of_inverted_sampling_grow_in_generation_order_only() -> None:
    """What was made last is worst: in video time the start looks bad."""
    quality = series(
        [NAN] + [10.0 - {6: 0, 7: 1, 8: 2, 3: 3, 4: 4, 5: 5, 1: 6, 2: 7}[f] for f in range(1, 9)]
    )
    assert slope(quality) > 0.5
    assert slope(in_order(quality, INVERTED)) == pytest.approx(-1)
    assert worst_window(in_order(quality, INVERTED), 2).first == 6


def flags_of(frames: Tensor) -> Flags:
    meter = FlagsMeter()
    for chunk in frames.split(5):
        meter.update(chunk)
    return meter.compute()


def test_a_moving_video_has_no_flags(video: Tensor) -> None:
    flags = flags_of(video)
    assert not flags.frozen
    assert flags.frozen_share == 0
    assert flags.frozen_from is None
    assert flags.loop_period is None


def test_a_frozen_video_is_flagged_from_where_it_froze(video: Tensor) -> None:
    flags = flags_of(torch.cat((video[:8], video[7:8].expand(16, -1, -1, -1))))
    assert flags.frozen
    assert flags.frozen_share == pytest.approx(16 / 23)
    assert flags.frozen_from == 7
    assert flags.loop_period is None
    still = flags_of(video[:1].expand(6, -1, -1, -1))
    assert (still.frozen_share, still.frozen_from, still.loop_period) == (1, 0, None)
    assert math.isnan(flags_of(video[:1]).frozen_share)


def test_a_loop_is_flagged_with_its_period(video: Tensor) -> None:
    assert flags_of(video[:7].repeat(3, 1, 1, 1)).loop_period == 7
    assert loop_period(torch.arange(8.0)[:, None].repeat(2, 1)) == 8
    assert loop_period(torch.arange(8.0)[:, None]) is None


def noise(frames: int, strength: float, seed: int = 0) -> Tensor:
    """Grey noise in 8 bits around a fixed picture."""
    random = torch.Generator().manual_seed(seed)
    picture = torch.rand(3, 32, 32, generator=random) * 0.5 + 0.25
    video = picture + strength * torch.randn(frames, 3, 32, 32, generator=random)
    return (video * 255).round().clamp(0, 255) / 255


def test_a_video_that_freezes_at_half_time_is_frozen_from_there(video: Tensor) -> None:
    half = flags_of(torch.cat((video[:12], video[11:12].expand(12, -1, -1, -1))))
    assert half.frozen
    assert (half.frozen_share, half.frozen_from) == (pytest.approx(12 / 23), 11)
    later = flags_of(torch.cat((video[:16], video[15:16].expand(8, -1, -1, -1))))
    assert not later.frozen
    assert (later.frozen_share, later.frozen_from) == (pytest.approx(8 / 23), 15)


def test_a_still_camera_with_noise_is_neither_frozen_nor_a_loop() -> None:
    flags = flags_of(noise(60, strength=4 / 255))
    assert flags == Flags(False, 0.0, None, None)


def test_noise_that_nobody_sees_does_not_hide_a_freeze(video: Tensor) -> None:
    frozen = video[11:12] + 0.3 / 255 * torch.randn(30, *video.shape[1:], generator=torch.Generator())
    flags = flags_of(torch.cat((video[:12], frozen)).clamp(0, 1))
    assert flags.frozen
    assert flags.frozen_from == 11


@pytest.mark.parametrize("picture", [1.0, "textured"])
@pytest.mark.parametrize("per_frame", [0.1, 0.35, 3.0])
def test_a_slow_fade_is_no_freeze(per_frame: float, picture: float | str) -> None:
    """Also where rounding to 8 bits leaves most frames of a flat picture as they were."""
    look = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) if picture == "textured" else 1.0
    light = per_frame / 255 * torch.arange(80)[:, None, None, None]
    fade = ((0.2 + light * look).expand(-1, 3, 32, 32) * 255).round() / 255
    flags = flags_of(fade)
    assert not flags.frozen
    assert flags.frozen_share < 0.2
    assert flags.loop_period is None


def test_a_freeze_before_a_slow_fade_stays_one() -> None:
    light = 0.35 / 255 * torch.cat((torch.zeros(60), torch.arange(1.0, 41)))
    flags = flags_of((0.3 + light)[:, None, None, None].expand(-1, 3, 16, 16))
    assert flags.frozen_share == pytest.approx(59 / 99, abs=0.02)
    assert flags.frozen
    assert flags.frozen_from is None
    stops = flags_of((0.3 + light.flip(0))[:, None, None, None].expand(-1, 3, 16, 16))
    assert stops.frozen_from == pytest.approx(40, abs=1)


def test_cuts_are_neither_loops_nor_freezes_but_shots_that_stand_still_are_frozen(video: Tensor) -> None:
    cut = torch.cat((video[:8], 1 - video[8:16], video[16:24]))
    assert flags_of(cut) == Flags(False, 0.0, None, None)
    shots = torch.cat([frame[None].expand(10, -1, -1, -1) for frame in (video[0], 1 - video[9], video[20])])
    flags = flags_of(shots)
    assert (flags.frozen, flags.frozen_share) == (True, pytest.approx(27 / 29))
    assert (flags.frozen_from, flags.loop_period) == (20, None)
    back_and_forth = torch.cat((video[0].expand(5, -1, -1, -1), video[20].expand(5, -1, -1, -1))).repeat(
        3, 1, 1, 1
    )
    assert flags_of(back_and_forth).loop_period == 10


@pytest.mark.parametrize("period", [2, 3, 7, 12])
def test_a_loop_with_noise_keeps_its_period(period: int, video: Tensor) -> None:
    loop = video[::2][:period].repeat(40 // period + 1, 1, 1, 1)[:40]
    grain = 2 / 255 * torch.randn(loop.shape, generator=torch.Generator().manual_seed(0))
    assert flags_of((loop + grain).clamp(0, 1)).loop_period == period
    assert flags_of(loop[: 2 * period - 1]).loop_period is None, "not seen twice"


def test_slow_motion_is_no_loop_and_a_slow_loop_has_its_own_period() -> None:
    time = torch.arange(400.0)[:, None]
    phase = torch.linspace(0, 6, 64)
    creeping = 0.5 + 0.3 * STILL * time * torch.ones(64)
    assert loop_period(creeping) is None, "two neighbours are alike, the ends are not"
    # neighbours are so alike that 149 and 151 repeat well enough, too
    assert loop_period(0.5 + 0.02 * torch.sin(2 * torch.pi * time / 150 + phase)) == 150
    assert loop_period(torch.full((50, 64), 0.4)) is None


def naive_periods(fingerprints: Tensor) -> list[int]:
    """Every period that repeats, by the definition."""
    count = len(fingerprints)
    return [
        p
        for p in range(2, count // 2 + 1)
        if all((fingerprints[i] - fingerprints[i - p]).abs().mean() < STILL for i in range(p, count))
    ]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=6), st.integers(2, 5), st.integers(0, 5))
def test_periods_are_those_of_the_definition(levels: list[int], times: int, rest: int) -> None:
    random = torch.Generator().manual_seed(0)
    looks = torch.rand(4, 64, generator=random)
    fingerprints = looks[(levels * (times + 1))[: len(levels) * times + rest]]
    expected = naive_periods(fingerprints) if len(set(levels)) > 1 else []
    assert loop_period(fingerprints) == (expected[0] if expected else None)


def test_pictures_that_only_their_details_tell_apart_are_no_loop() -> None:
    """A chequered change leaves every half, row sum and column sum of a fingerprint as it was."""
    chequered = torch.tensor([(-1.0) ** (area + area // 8) for area in range(64)])
    levels = torch.rand(40, 1, generator=torch.Generator().manual_seed(0)) * 0.2
    assert loop_period(0.5 + levels * chequered) is None
    assert loop_period(0.5 + levels[:9].repeat(4, 1) * chequered) == 9


def test_long_videos_repeat_after_their_period_and_no_other() -> None:
    random = torch.Generator().manual_seed(0)
    assert loop_period(torch.rand(777, 64, generator=random).repeat(6, 1)[:4000]) == 777
    assert loop_period(torch.rand(4000, 64, generator=random)) is None
    event = torch.rand(1, 64, generator=random).repeat(4000, 1)
    event[2000:2030] += 0.2
    assert loop_period(event) is None


@pytest.mark.parametrize("name", sorted(COMPANIONS))
def test_companions_stream_and_fall_with_noise(name: str, video: Tensor) -> None:
    noise = torch.randn(video[:6].shape, generator=torch.Generator().manual_seed(0))
    noisy = [(video[:6] + strength * noise).clamp(0, 1) for strength in (0.01, 0.1)]
    scores = []
    for frames in noisy:
        batch, streamed = COMPANIONS[name](), COMPANIONS[name]()
        batch.update(frames, video[:6])
        for index in range(0, 6, 4):
            streamed.update(frames[index : index + 4], video[index : index + 4][: 6 - index])
        np.testing.assert_array_equal(streamed.compute().values, batch.compute().values)
        assert batch.compute().positions.tolist() == list(range(6))
        scores.append(batch.compute().score)
    assert scores[0] > scores[1]
    with pytest.raises(ValueError, match="expected equal"):
        COMPANIONS[name]().update(video[:2], video[:3])
    assert COMPANIONS[name]().compute().reason == "needs at least 1 frame(s), got 0"
