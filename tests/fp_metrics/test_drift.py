"""Drift: golden arithmetic, segments in both orders, and the wrapper against running the segments by hand."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from fp_metrics import FAMILIES, About, Drift, DriftResult, Estimator, segment, summarise_drift
from fp_metrics.estimator import Score

EVERYWHERE = ("plain", "probe", "world")  # families that need nothing but what is shipped
ALL = {name: kind for family in EVERYWHERE for name, kind in FAMILIES[family].items()}


class Brightness(Estimator):
    """Mean value of a frame."""

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "test/brightness"
    family: ClassVar[str] = "test"

    def measure(self, window: Sequence[Any], position: int) -> float:
        return float(window[0].double().mean())


def ramp(length: int) -> Tensor:
    """Frame i has brightness i / 100 everywhere."""
    return (torch.arange(length, dtype=torch.float64) / 100)[:, None, None, None].expand(-1, 3, 16, 16)


@pytest.mark.parametrize(("length", "n"), [(1, 1), (6, 1), (13, 1), (14, 2), (64, 9), (73, 10), (100, 15)])
def test_segments_take_fifteen_percent(length: int, n: int) -> None:
    parts = segment(length)
    assert parts.start == tuple(range(n))
    assert parts.end == tuple(range(length - n, length))


def test_drift_golden() -> None:
    drift = Drift(Brightness, [segment(40)])
    drift.update(ramp(40))
    result = drift.compute().drift["temporal"]
    # n = 6: frames 0..5 have mean 2.5, frames 34..39 mean 36.5
    assert result.start == pytest.approx(0.025)
    assert result.end == pytest.approx(0.365)
    assert result.signed == pytest.approx(0.34)
    assert result.absolute == pytest.approx(0.34)
    assert result.frames == 6
    assert result.reason is None
    falling = Drift(Brightness, [segment(40)])
    falling.update(ramp(40).flip(0))
    assert falling.compute().drift["temporal"].signed == pytest.approx(-0.34)
    assert falling.compute().drift["temporal"].absolute == pytest.approx(0.34)


def test_generation_order_compares_what_was_made_first_and_last() -> None:
    inverted = [
        *range(31, 40),
        *range(22, 31),
        *range(13, 22),
        *range(4, 13),
        *range(1, 4),
    ]  # frame 0 was given
    parts = segment(40, inverted)
    assert parts.order == "generation"
    assert parts.start == (31, 32, 33, 34, 35, 36)
    assert parts.end == (1, 2, 3, 10, 11, 12)
    drift = Drift(Brightness, [segment(40), parts])
    drift.update(ramp(40))
    results = drift.compute().drift
    assert results["generation"].signed == pytest.approx(0.065 - 0.335)
    assert results["temporal"].signed == pytest.approx(0.34)


@pytest.mark.parametrize("order", [[0, 1, 1], [0, 3], [-1, 0], []])
def test_a_wrong_order_is_refused(order: list[int]) -> None:
    with pytest.raises(ValueError, match=r"\border .* 0\.\.2"):
        segment(3, order)


def test_an_empty_video_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1 frame.*length=0"):
        segment(0)


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_wrapper_equals_the_estimator_on_the_segment_alone(
    name: str, video: Tensor, about: About
) -> None:
    order = [*range(18, 24), *range(12, 18), *range(6, 12), *range(1, 6)]
    parts = segment(24), segment(24, order)
    wrapped = Drift(ALL[name], parts, about)
    for first in range(0, 24, 5):
        wrapped.update(video[first : first + 5])
    results = wrapped.compute().drift
    for part in parts:
        for side, measured in ((part.start, results[part.order].start), (part.end, results[part.order].end)):
            alone = ALL[name](about)
            alone.update(video[list(side)], side)
            rounding = 1e-5 if name.startswith("probe/") else 0  # networks round differently by batch size
            np.testing.assert_allclose(measured, alone.compute().score, atol=rounding, rtol=rounding)


def test_a_segment_too_short_is_undefined_with_a_reason(video: Tensor) -> None:
    drift = Drift(ALL["plain/dis-middle-frame"], [segment(13)])
    drift.update(video[:13])
    result = drift.compute().drift["temporal"]
    assert math.isnan(result.signed)
    assert math.isnan(result.absolute)
    assert result.reason == "both segments: needs at least 3 frame(s), got 1"


def test_reset_forgets_the_segments_too(video: Tensor) -> None:
    drift = Drift(ALL["plain/hog-colour-to-first"], [segment(14)])
    drift.update(video[:14])
    drift.reset()
    drift.update(video[:14].flip(0))
    fresh = Drift(ALL["plain/hog-colour-to-first"], [segment(14)])
    fresh.update(video[:14].flip(0))
    assert drift.compute().drift == fresh.compute().drift


def results_of(differences: Sequence[float]) -> list[DriftResult]:
    return [DriftResult(0.0, float(difference), 9) for difference in differences]


def test_summary_golden() -> None:
    undefined = DriftResult(float("nan"), 1.0, 1, reason="too short")
    summary = summarise_drift([*results_of([1, -2, 3, -4]), undefined], floor=results_of([0.5, -0.5]))
    assert summary.mean_absolute == 2.5
    assert summary.absolute_mean == 0.5
    assert summary.signed.mean == -0.5
    assert summary.signed.low < -0.5 < summary.signed.high
    assert summary.floor_mean_absolute == 0.5
    assert (summary.videos, summary.undefined) == (4, 1)
    assert not summary.signed.reliable


def test_summary_of_nothing_is_nan() -> None:
    summary = summarise_drift([])
    assert math.isnan(summary.mean_absolute)
    assert math.isnan(summary.signed.mean)
    assert math.isnan(summary.floor_mean_absolute)
    assert summary.videos == 0


def test_mean_absolute_drift_is_biased_by_noise_and_the_signed_mean_is_not() -> None:
    """Segment scores with noise 1.5 and no drift read mean |d| = 1.5 * sqrt(2) * sqrt(2 / pi) = 1.69."""
    quantiles = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    differences = 1.5 * math.sqrt(2) * quantiles
    summary = summarise_drift(results_of(differences.tolist()), floor=results_of(differences[::-1].tolist()))
    assert summary.mean_absolute == pytest.approx(1.69, abs=0.005)
    assert summary.absolute_mean == pytest.approx(0, abs=1e-9)
    assert summary.signed.low < 0 < summary.signed.high
    assert summary.floor_mean_absolute == pytest.approx(
        summary.mean_absolute
    )  # which is why it stands beside it
