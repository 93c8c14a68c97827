"""Figures made from stored series: exposure bias, slope, worst window, border jumps; flags; companions."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_metrics import COMPANIONS, Flags, Series, exposure_bias
from fp_metrics.curves import border_jump, slope, worst_window
from fp_metrics.flags import FlagsMeter, loop_period


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
    with pytest.raises(ValueError, match="one estimator"):
        exposure_bias(series([1]), series([1], span=2), [(0,)])


def test_slope_is_numpys(video: Tensor) -> None:
    values = np.random.default_rng(0).normal(size=30)
    expected = np.polyfit(np.arange(30), values, 1)[0]
    assert slope(series(values.tolist())) == pytest.approx(expected)
    assert slope(series([1.0, float("nan"), 2.0])) == pytest.approx(0.5)
    assert math.isnan(slope(series([1.0])))


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
