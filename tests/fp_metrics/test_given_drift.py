"""Drift against the given frame: what is lost inside the first 15 % counts in full."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from fp_metrics import FAMILIES, About, Drift, Drifted, Estimator, Score, segment
from fp_metrics.companions import COMPANIONS
from fp_metrics.estimator import span_of
from fp_metrics.given_drift import given_drift

FRAMES, DROP = 200, 0.5
FALLING = np.concatenate(([1.0, 1 - DROP / 3, 1 - 2 * DROP / 3], np.full(FRAMES - 3, 1 - DROP)))
"""Falls between frames 0 and 3 and stays flat."""


class Brightness(Estimator):
    score: ClassVar[Score] = "clarity"
    family: ClassVar[str] = "test"
    name: ClassVar[str] = "test/brightness"

    def measure(self, window: list[Tensor], position: int) -> float:
        return float(window[0].mean())


class BrightnessOfThree(Brightness):
    name: ClassVar[str] = "test/brightness-of-three"
    window: ClassVar[int] = 3


class BrightnessToFirst(Brightness):
    """Likeness to the first frame seen: not local, so the paper's rule begins anew in each segment."""

    name: ClassVar[str] = "test/brightness-to-first"
    local: ClassVar[bool] = False
    _first: float | None = None

    def measure(self, window: list[Tensor], position: int) -> float:
        now = float(window[0].mean())
        self._first = now if self._first is None else self._first
        return 1 - abs(now - self._first)


def drifted(kind: type[Estimator]) -> Drifted:
    wrapped = Drift(kind, [segment(FRAMES)])
    wrapped.update(torch.tensor(FALLING, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2))
    return wrapped.compute()


@pytest.mark.parametrize("kind", [Brightness, BrightnessToFirst])
def test_what_is_lost_at_once_counts_in_full(kind: type[Estimator]) -> None:
    made = drifted(kind)
    paper, against = made.drift["temporal"], given_drift(made.series, FRAMES)
    lost = DROP * (1 + 2 / 3 + 1 / 3) / 30  # what three of the first thirty frames have left of the drop
    if kind is Brightness:
        assert paper.signed == pytest.approx(-lost, abs=1e-6)
    else:  # the last segment is compared with its own first frame: it looks better than the first one
        assert paper.signed == pytest.approx(DROP - lost, abs=1e-6)
    assert against.signed == pytest.approx(-DROP, abs=1e-6)
    assert against.inside_start == pytest.approx(lost - DROP, abs=1e-6)
    assert against.reason is None


def test_a_score_of_several_frames_has_no_value_at_one_given_frame() -> None:
    series = drifted(BrightnessOfThree).series
    one = given_drift(series, FRAMES)
    assert np.isnan(one.signed)
    assert "3 frames at once" in (one.reason or "")
    three = given_drift(series, FRAMES, given=3)
    assert three.signed == pytest.approx(0.5 - 1, abs=1e-6)
    assert "no frame is given" in (given_drift(series, FRAMES, given=0).reason or "")


def test_an_undefined_given_frame_is_a_reason_never_zero() -> None:
    series = drifted(Brightness).series
    series.values[0] = np.nan
    against = given_drift(series, FRAMES)
    assert np.isnan(against.signed)
    assert "given frame" in (against.reason or "")


def test_spans_are_those_of_the_estimators() -> None:
    for kinds in FAMILIES.values():
        for kind in kinds.values():
            if not kind.needs_truth and kind.unavailable() is None:
                assert span_of(kind, 8.0) == kind(About(fps=8.0)).span, kind.name
    assert span_of(FAMILIES["world"]["world/centre-smoothness"], 8.0) == 3
    assert {span_of(kind, 8.0) for kind in COMPANIONS.values()} == {1}
