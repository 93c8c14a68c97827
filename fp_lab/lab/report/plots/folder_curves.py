"""Plot of scores over the length of scored videos, one panel per estimator."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.report.plots.curves import SHADE, entitle, panel_grid, shade_patch
from fp_lab.lab.report.plots.style import PALETTE, headline, legend_below, paper, save
from fp_metrics.segments import FRACTION
from fp_metrics.series_metric import SeriesMetric

_STEPS = 100  # of a video's length: curves of videos of different lengths are averaged there
_SMOOTHING = 0.05  # share of the length
_MANY = 40  # single videos are drawn up to here


def draw_series(
    frames: pd.DataFrame, kinds: Mapping[str, type[SeriesMetric]], results: Results, path: Path
) -> Path:
    """Draw every estimator with a value.

    Args:
        frames: rows of all values, with file, group, estimator, frame, value.
        kinds: estimators by name.
        results: results with the lengths of the files.
        path: path of the PNG.
    """
    known = frames.dropna(subset="value")
    shown = [name for name in kinds if (known["estimator"] == name).any()]
    groups = list(results.groups)
    with paper():
        if not shown:
            figure = Figure(figsize=(6, 1))
            figure.text(0.5, 0.5, "no value is defined", ha="center")
            return save(figure, path)
        figure, grid = panel_grid(len(shown), height=2.35)
        for axes, name in zip(grid, shown, strict=False):
            _panel(axes, known[known["estimator"] == name], results, groups)
            score = results.protocol["estimators"][name]["score"]
            entitle(axes, score, name, better=kinds[name].higher_is_better)
        handles: list[Artist] = [
            Line2D([], [], color=_colour(i), lw=2, label=group) for i, group in enumerate(groups)
        ]
        handles.append(shade_patch())
        legend_below(figure, handles if len(groups) > 1 else handles[-1:])
        headline(
            figure,
            "Scores over the length of the videos",
            "Where ↑ stands higher is better, where ↓ lower; a line that gets worse to the right drifts.",
        )
        return save(figure, path)


def _panel(axes: Axes, rows: pd.DataFrame, results: Results, groups: list[str]) -> None:
    for edge in (0, 100 * (1 - FRACTION)):
        axes.axvspan(edge, edge + 100 * FRACTION, color=SHADE, lw=0, zorder=0)
    several = rows["file"].nunique() > 1
    for index, group in enumerate(groups):
        curves = [
            _curve(own, results.files[str(name)]["frames"])
            for name, own in rows[rows["group"] == group].groupby("file", sort=False)
        ]
        if not curves:
            continue
        times = np.linspace(0, 100, _STEPS)
        for curve in curves if len(curves) <= _MANY else []:
            style = {"alpha": 0.35, "lw": 0.9} if several else {"lw": 1.8}
            axes.plot(times, curve, color=_colour(index), **style)  # type: ignore[arg-type]
        if len(curves) > 1:
            stacked = np.array(curves)
            finite = np.isfinite(stacked)
            mean = np.where(finite, stacked, 0).sum(0) / np.maximum(finite.sum(0), 1)
            mean[finite.sum(0) * 2 < len(curves)] = np.nan  # a mean over a few of them jumps where one begins
            axes.plot(times, mean, color=_colour(index), lw=2)
    axes.set_xlabel("% of the video")
    axes.grid(axis="y")
    axes.margins(x=0)


def _curve(rows: pd.DataFrame, length: int) -> NDArray[np.float64]:
    """Smoothed values at `_STEPS` times of the video's length; NaN where none is near."""
    times = rows["frame"].to_numpy(float) / max(1, length - 1)
    values = rows["value"].to_numpy(float)
    asked = np.linspace(0, 1, _STEPS)
    near = np.maximum(0, 1 - np.abs(asked[:, None] - times) / _SMOOTHING)
    reach = np.abs(asked[:, None] - times).min(1) <= max(_SMOOTHING, 2 / max(1, len(times)))
    weights = near.sum(1)
    smooth = np.divide(near @ values, weights, out=np.full(_STEPS, np.nan), where=weights > 0)
    sparse = np.interp(asked, times, values)
    return np.where(weights > 0, smooth, np.where(reach, sparse, np.nan))


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]
