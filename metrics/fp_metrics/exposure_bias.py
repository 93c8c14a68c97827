"""Exposure-bias gap: what a model loses by building on its own frames instead of true ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fp_metrics.series import Series


@dataclass(frozen=True)
class ExposureBias:
    """Score from true history minus score from the model's own, section by section.

    Attributes:
        gaps: one per section, in the order given; NaN where a section holds no value on either side.
            Positive: true history scores better. The first section has seen no frame of the model's own and
            reads about 0.
        mean: mean of the defined gaps; NaN with a reason when there is none.
        reason: why the mean is undefined; None when it is defined.
    """

    gaps: tuple[float, ...]
    mean: float
    reason: str | None = None


def exposure_bias(
    teacher_forced: Series,
    free_running: Series,
    sections: Sequence[Sequence[int]],
    *,
    higher_is_better: bool = True,
) -> ExposureBias:
    """The gap between the same sections generated from true and from own history.

    Only values that look at frames of one section count: teacher-forced sections do not continue each other.

    Args:
        teacher_forced: series of the video whose sections were each made from true history.
        free_running: series of the same estimator on the video made from its own history.
        sections: frame indices of each section, in generation order.
        higher_is_better: of the estimator; where lower is better, the difference is turned round.

    Raises:
        ValueError: for series of different estimators.
    """
    if (teacher_forced.span, teacher_forced.unit) != (free_running.span, free_running.unit):
        raise ValueError(
            "both series must come from one estimator, got span and unit "
            f"{teacher_forced.span}, {teacher_forced.unit!r} and {free_running.span}, {free_running.unit!r}"
        )
    sign = 1 if higher_is_better else -1
    gaps = [sign * (section_mean(teacher_forced, s) - section_mean(free_running, s)) for s in sections]
    defined = [gap for gap in gaps if np.isfinite(gap)]
    if not defined:
        return ExposureBias(tuple(gaps), float("nan"), "no section has a value on both sides")
    return ExposureBias(tuple(gaps), float(np.mean(defined)))


def section_mean(series: Series, frames: Sequence[int]) -> float:
    """Mean of the finite values that look only at these frames; NaN when there is none."""
    values = series.values[series.inside(frames)]
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")
