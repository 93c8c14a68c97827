"""Drift against the frames that a video was given, beside the paper's against its first 15 %.

A video whose first frames far from the given one are made at once (an inverted order) can lose all that it
loses inside the first segment: the paper's drift then reads nothing. Its start is the given frame.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fp_metrics.segments import FRACTION, segment
from fp_metrics.series import Series


@dataclass(frozen=True)
class GivenDrift:
    """One video's drift in one score against its given frames; means of the values of the whole video.

    Attributes:
        given: of the values that look at nothing but given frames.
        start: of the first segment, the given frames included.
        end: of the last segment.
        reason: why the drift is undefined; None when it is defined.
    """

    given: float
    start: float
    end: float
    reason: str | None = None

    @property
    def signed(self) -> float:
        """``end - given``; NaN when either is undefined."""
        return self.end - self.given

    @property
    def inside_start(self) -> float:
        """``start - given``: what the paper's drift, ``end - start``, does not count."""
        return self.start - self.given


def given_drift(series: Series, length: int, *, given: int = 1, fraction: float = FRACTION) -> GivenDrift:
    """Score of the last 15 % of a video less that of the frames it was given, as the video shows them.

    Values are those of the whole series: a measure that compares with the first frame still does, so its end
    is the likeness to the given frame (the paper's drift compares each segment with its own first frame).

    Args:
        series: of one video.
        length: frames of the video.
        given: frames at its beginning that were given. A value that looks at more frames than these is of no
            given frame: the drift is undefined.
        fraction: share of the video per segment.
    """
    part = segment(length, fraction=fraction)
    first, start, end = (
        _mean(series.values[series.inside(frames)]) for frames in (range(given), part.start, part.end)
    )
    reason = None
    if given < 1:
        reason = "no frame is given"
    elif series.span > given:
        reason = f"looks at {series.span} frames at once, and only {given} are given"
    elif np.isnan(first) or np.isnan(end):
        reason = f"no value is defined in the {'given frame' if np.isnan(first) else 'last segment'}"
    return GivenDrift(first, start, end, reason)


def _mean(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
