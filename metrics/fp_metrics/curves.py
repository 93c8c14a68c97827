"""Figures made from a stored series: slope, decay, seconds against seconds, worst window, jumps at borders.

Each can be had in video time and in generation order. Where a figure compares stretches of frames, give it
the `order` of generation; for the others reorder the series by `in_order` first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fp_metrics.drift import DriftResult
from fp_metrics.exposure_bias import section_mean
from fp_metrics.segments import Order
from fp_metrics.series import Series


@dataclass(frozen=True)
class Window:
    """A stretch of a video.

    Attributes:
        first: position of its first value; -1 where there is none.
        mean: mean of its values; NaN where there is none.
    """

    first: int
    mean: float


def slope(series: Series) -> float:
    """Least-squares slope of the finite values over their positions, unit per frame.

    NaN below two values at different positions.
    """
    finite = np.isfinite(series.values)
    if not finite.any() or np.ptp(series.positions[finite]) == 0:
        return float("nan")
    time = series.positions[finite] - series.positions[finite].mean()
    return float(time @ series.values[finite] / (time @ time))


@dataclass(frozen=True)
class DecayCurve:
    """A score at given distances from the start.

    Attributes:
        distances: frames from the first one to the first one of each stretch.
        values: mean score of each stretch; NaN where undefined.
        start: mean score of the first stretch.
        frames: frames per stretch.
        order: temporal or generation.
        reasons: why a value is undefined; None where it is defined.
    """

    distances: tuple[int, ...]
    values: tuple[float, ...]
    start: float
    frames: int
    order: Order
    reasons: tuple[str | None, ...]

    @property
    def decay(self) -> tuple[float, ...]:
        """Each value less the start's; NaN where either is undefined."""
        return tuple(value - self.start for value in self.values)


def decay_curve(
    series: Series, distances: Sequence[int], *, frames: int, order: Sequence[int] | None = None
) -> DecayCurve:
    """Mean score of `frames` frames at each distance from the start.

    Args:
        series: values that look at frames outside a stretch do not count to it.
        distances: in frames, at least 0; in generation order the number of frames made before.
        frames: length of each stretch, at least the series' span.
        order: frame indices as they were made (given frames left out); None: video time.

    Raises:
        ValueError: for a negative distance or no frames.
    """
    if frames < 1 or any(distance < 0 for distance in distances):
        raise ValueError(
            f"got frames={frames} and distances {list(distances)}, expected 1 or more and 0 or more"
        )
    listed = _frames(series, order)
    parts = [_mean_of(series, listed, distance, frames) for distance in distances]
    start, _ = _mean_of(series, listed, 0, frames)
    values, reasons = tuple(value for value, _ in parts), tuple(reason for _, reason in parts)
    return DecayCurve(tuple(distances), values, start, frames, _name(order), reasons)


def seconds_drift(
    series: Series, fps: float, *, seconds: float = 5.0, order: Sequence[int] | None = None
) -> DriftResult:
    """Mean of the last seconds against that of the first ones.

    Values are those of the whole series, so a measure that compares with the first frame still does.

    Args:
        series: of one video.
        fps: frames per second.
        seconds: length of each side.
        order: frame indices as they were made; None: video time.

    Returns:
        Undefined with a reason where both sides would overlap.
    """
    listed = _frames(series, order)
    count = max(1, round(fps * seconds))
    nan = float("nan")
    if len(listed) < 2 * count:
        reason = f"needs {2 * count} frames for {seconds:g} s against {seconds:g} s at {fps:g} fps"
        return DriftResult(nan, nan, count, _name(order), f"{reason}, got {len(listed)}")
    start, before = _mean_of(series, listed, 0, count)
    end, after = _mean_of(series, listed, len(listed) - count, count)
    reasons = [f"{side}: {why}" for side, why in (("first", before), ("last", after)) if why]
    return DriftResult(start, end, count, _name(order), "; ".join(reasons) or None)


def in_order(series: Series, order: Sequence[int]) -> Series:
    """The series as its values came to be: each at the rank of the frame made last of those it looks at.

    Ranks are 0, 1, ... in generation order. Values that look at a frame which was given are left out. Where
    two values came to be with the same frame, the earlier in video time stands first.

    Args:
        series: in video time.
        order: frame indices as they were made, each at most once.

    Returns:
        A series whose positions are ranks and whose span is 1; its score is the mean of its finite values.
    """
    ranks = {frame: rank for rank, frame in enumerate(order)}
    kept = np.flatnonzero(series.inside(list(order)))
    first = series.positions[kept] - series.span // 2
    made = np.array([max(ranks[int(f) + step] for step in range(series.span)) for f in first], dtype=np.int64)
    ascending = np.argsort(made, kind="stable")
    values = series.values[kept][ascending]
    finite = values[np.isfinite(values)]
    reason = None if len(finite) else series.reason or "no value looks only at frames that were made"
    score = float(finite.mean()) if len(finite) else float("nan")
    return Series(values, made[ascending], score, series.unit, 1, reason)


def worst_window(series: Series, length: int, *, higher_is_better: bool | None = True) -> Window:
    """The `length` consecutive values with the worst mean (NaN left out; the first one of equals).

    A series shorter than `length` is one window. Where neither direction is better, there is none.
    """
    count = len(series.values)
    if higher_is_better is None or not np.isfinite(series.values).any():
        return Window(-1, float("nan"))
    length = min(length, count)
    worst, first = float("inf"), 0
    for begin in range(count - length + 1):
        values = series.values[begin : begin + length]
        if not np.isfinite(values).any():
            continue
        badness = float(np.nanmean(values)) * (-1 if not higher_is_better else 1)
        if badness < worst:
            worst, first = badness, begin
    return Window(int(series.positions[first]), worst if higher_is_better else -worst)


def border_jump(series: Series, borders: Sequence[int]) -> float:
    """Mean ``|change|`` between neighbours across section borders, less the mean elsewhere.

    About 0 where borders do not show.

    Args:
        series: of one value per frame or pair.
        borders: first frame of each section but the earliest in video time.

    Returns:
        The excess in the series' unit; NaN when either kind of step is missing.
    """
    changes = np.abs(np.diff(series.values))
    across = np.isin(series.positions[1:], np.asarray(borders, dtype=np.int64))
    finite = np.isfinite(changes)
    if not (across & finite).any() or not (~across & finite).any():
        return float("nan")
    return float(changes[across & finite].mean() - changes[~across & finite].mean())


def _frames(series: Series, order: Sequence[int] | None) -> Sequence[int]:
    """The frames that a figure is about, in its order: in video time all that the series looks at."""
    if order is not None:
        return order
    first: NDArray[np.int64] = series.positions - series.span // 2
    return range(int(first[-1]) + series.span) if len(first) else range(0)


def _mean_of(series: Series, listed: Sequence[int], first: int, count: int) -> tuple[float, str | None]:
    """Mean of the values that look only at `count` frames from the `first` one on, or why there is none."""
    if first + count > len(listed):
        return float("nan"), f"needs {first + count} frames, got {len(listed)}"
    chosen = listed[first : first + count]
    mean = section_mean(series, chosen)
    if np.isfinite(mean):
        return mean, None
    if not series.inside(chosen).any():
        return mean, f"needs {series.span} consecutive frames in each stretch, got {count} frames"
    return mean, series.reason or "no frame could be measured"


def _name(order: Sequence[int] | None) -> Order:
    return "temporal" if order is None else "generation"
