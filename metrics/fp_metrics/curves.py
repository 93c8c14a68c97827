"""Figures made from a stored series: slope, worst window, jumps at section borders."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """Least-squares slope of the finite values over their positions, unit per frame; NaN below two values."""
    finite = np.isfinite(series.values)
    if finite.sum() < 2:
        return float("nan")
    time = series.positions[finite] - series.positions[finite].mean()
    return float(time @ series.values[finite] / (time @ time))


def worst_window(series: Series, length: int, *, higher_is_better: bool = True) -> Window:
    """The `length` consecutive values with the worst mean (NaN left out; the first one of equals).

    A series shorter than `length` is one window.
    """
    count = len(series.values)
    if not np.isfinite(series.values).any():
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
