"""Drift of scored videos against their given frames, from stored values per frame."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from fp_metrics.given_drift import GivenDrift, given_drift
from fp_metrics.series import Series

GIVEN_COLUMNS = ("drift_given", "start_given", "given_reason")
"""Columns: last 15 % less given frames; first 15 % less given frames; why the first is undefined."""
_KEYS = ["video", "history", "estimator"]


def with_given(
    videos: pd.DataFrame, frames: pd.DataFrame, size: Mapping[str, float], spans: Mapping[str, int]
) -> pd.DataFrame:
    """Add `GIVEN_COLUMNS` to the rows of videos.

    Args:
        videos: one row per video, history and estimator.
        frames: one row per value, with the same keys, frame and value.
        size: number of ``frames`` of the videos, and of ``given`` pixel frames.
        spans: estimator -> number of consecutive frames behind one value.
    """
    made: dict[tuple[Hashable, ...], GivenDrift] = {}
    for (video, history, name), rows in frames.groupby(_KEYS, sort=False, observed=True):
        rows = rows.sort_values("frame")
        values = rows["value"].to_numpy(np.float64)
        finite = values[np.isfinite(values)]
        series = Series(
            values,
            rows["frame"].to_numpy(np.int64),
            float(finite.mean()) if len(finite) else float("nan"),
            "",
            spans[str(name)],
            None if len(finite) else "no value is defined",
        )
        made[video, history, name] = given_drift(series, int(size["frames"]), given=int(size["given"]))
    nothing = GivenDrift(np.nan, np.nan, np.nan, "no value is stored")
    found = [made.get(key, nothing) for key in videos[_KEYS].itertuples(index=False, name=None)]
    return videos.assign(
        drift_given=np.array([one.signed for one in found], dtype=np.float64),
        start_given=np.array([one.inside_start for one in found], dtype=np.float64),
        given_reason=pd.array([one.reason for one in found], dtype="string"),
    )
