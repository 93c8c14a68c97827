"""Plots of a comparison: scores over video time, drift with its noise floor, exposure-bias gaps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from fp_lab.lab.report.plots.style import (
    FAINT,
    INK,
    LINE,
    TRUTH_COLOUR,
    LineStyle,
    Look,
    arm_line,
    headline,
    hide,
    legend_below,
    most_lines,
    paper,
    save,
    truth_line,
    wrapped,
)
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.scoring.files import NOISE_FLOOR, clusters
from fp_lab.lab.tables import Table
from fp_lab.lab.tables.glossary import ARROWS, HISTORIES, HISTORIES_IN_FULL, SCORES, score_title
from fp_metrics.effects import Effects, effects_of
from fp_metrics.segments import FRACTION, segment

SMOOTHING = 5
"""Width of the running mean of curves, in frames."""
_COLUMNS = 4
_BETWEEN = 16  # frames between two markers of a curve
_NARROWEST = 7.0  # inches: a headline fits
_TRUE_DASH: LineStyle = (0, (2, 1.5))
SHADE = "#eceff2"
"""Colour of the segments that drift compares."""


class Curves:
    """Smoothed scores over video time, computed once for all plots.

    Attributes:
        gathered: scores behind the curves.
    """

    def __init__(self, gathered: Gathered) -> None:
        self.gathered = gathered
        parts = [part for part in (gathered.frames, gathered.floor_frames) if len(part)]
        frames = pd.concat(parts, ignore_index=True)
        frames = frames.assign(cluster=clusters(frames))
        self._curves: dict[tuple[object, ...], Curve] = {}
        for key, rows in frames.groupby(["arm", "history", "estimator"]):
            found = rows.pivot_table(index=["training_seed", "cluster"], columns="frame", values="value")
            if found.size:
                draws = [found.index.unique(level) for level in found.index.names]
                cells = found.reindex(pd.MultiIndex.from_product(draws)).to_numpy(float)
                times, shape = found.columns.to_numpy(float), (-1, *map(len, draws))
                first = (
                    effects_of(cells[:, :1].T.reshape(shape), over_seeds=False).mean[0]
                    if times[0] == 0
                    else math.nan
                )
                over_seeds = gathered.basis.over_seeds and key[0] != NOISE_FLOOR
                smoothed = running_mean(cells, SMOOTHING).T.reshape(shape)
                smooth = effects_of(smoothed, over_seeds=over_seeds)
                self._curves[tuple(key)] = Curve(times, smooth, float(first))

    def of(self, arm: str, history: str, estimator: str) -> "Curve | None":
        """Return the curve of an arm (or of the ground truth); None where nothing is defined."""
        return self._curves.get((arm, history, estimator))

    def truth(self, estimator: str) -> "Curve | None":
        """Return the ground truth's curve, through the codec."""
        return self.of(NOISE_FLOOR, NOISE_FLOOR, estimator)

    def defined(self, estimators: Mapping[str, str]) -> list[tuple[str, str]]:
        """Return score and estimator of those with a curve in some arm."""
        known = {estimator for _, _, estimator in self._curves}
        return [(score, estimator) for score, estimator in estimators.items() if estimator in known]


@dataclass(frozen=True, eq=False)
class Curve:
    """A score over video time; NaN where undefined.

    Attributes:
        times: indices of frames, ``(t,)``.
        effects: means over training seeds and prompts, one per time.
        first: mean at the given frame.
    """

    times: NDArray[np.float64]
    effects: Effects
    first: float = float("nan")

    @cached_property
    def band(self) -> NDArray[np.float64]:
        """Lower and upper bounds of the 95 % intervals, ``(2, t)``."""
        return np.array([(found.low, found.high) for found in self.effects.intervals()]).T


def running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Compute the centred running mean along the last axis of ``k t``, over finite values of each window."""
    finite = np.isfinite(values)
    window = np.ones(min(width, values.shape[1]))
    sums = np.array([np.convolve(row, window, "same") for row in np.where(finite, values, 0.0)])
    counts = np.array([np.convolve(row, window, "same") for row in finite.astype(float)])
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0.5)


def score_curves(
    curves: Curves, family: str, arms_looks: Mapping[str, Look], borders: Sequence[int], path: Path
) -> Path:
    """Draw one panel per score: mean over videos at each frame, generated history, all arms, 95 % bands.

    Args:
        curves: curves of all arms.
        family: family of estimators; PSNR, where there is a reference, gets a panel too.
        arms_looks: colours, dashes and markers by arm.
        borders: first frames of sections, drawn faintly.
        path: path of the PNG.
    """
    companions = curves.gathered.estimators("companion")
    wanted = {**curves.gathered.estimators(family), **{s: e for s, e in companions.items() if s == "psnr"}}
    panels = curves.defined(wanted)
    with paper():
        figure, grid = panel_grid(len(panels), height=2.45)
        for axes, (score, estimator) in zip(grid, panels, strict=False):
            _sections(axes, borders)
            _segments(axes, int(curves.gathered.protocol["frames"]))
            _draw(axes, curves.truth(estimator), Look(TRUTH_COLOUR, "-", ""), 1.0, band=False)
            for place, arm in enumerate(curves.gathered.arms):
                curve = curves.of(arm.name, "own", estimator)
                _draw(axes, curve, arms_looks[arm.name], 1.5, offset=3 * place)
            measure = curves.gathered.measures[estimator]
            entitle(axes, score, estimator, better=measure.higher_is_better)
            axes.set_xlabel("frame of the video")
            axes.grid(axis="y")
            axes.margins(x=0.01)
        handles: list[Artist] = [arm_line(arms_looks[arm.name], arm.label) for arm in curves.gathered.arms]
        handles += [truth_line(lw=1.0), shade_patch()]
        if borders:
            handles.append(Line2D([], [], color=FAINT, lw=1.5, label="border of two sections"))
        legend_below(figure, handles)
        headline(
            figure,
            f"Scores over video time, {HISTORIES_IN_FULL['own']}",
            "A line that gets worse to the right drifts; far from the ground truth is a bad video.",
        )
        return save(figure, path)


def history_curves(
    curves: Curves,
    estimators: Mapping[str, str],
    arms_looks: Mapping[str, Look],
    borders: Sequence[int],
    path: Path,
) -> Path:
    """Draw one row per arm, one column per score: generated against true history, with the ground truth.

    Args:
        curves: curves of all arms.
        estimators: score -> estimator of each column.
        arms_looks: colours, dashes and markers by arm.
        borders: first frames of sections, drawn faintly.
        path: path of the PNG.
    """
    panels, arms = curves.defined(estimators), curves.gathered.arms
    labels = {arm.name: wrapped(arm.label, 16) for arm in arms}
    high = max(1.25, LINE * most_lines(labels.values()) + 0.1)
    with paper():
        figure = Figure(figsize=(2.2 * len(panels) + 1.2, high * len(arms) + 0.8), layout="constrained")
        grid = figure.subplots(len(arms), len(panels), squeeze=False, sharex=True, sharey="col")
        for row, arm in zip(grid, arms, strict=True):
            solid = replace(arms_looks[arm.name], dash="-", marker="")
            dashed = replace(solid, dash=_TRUE_DASH)
            for axes, (score, estimator) in zip(row, panels, strict=True):
                _sections(axes, borders)
                _draw(axes, curves.truth(estimator), Look(TRUTH_COLOUR, "-", ""), 0.8, band=False)
                _draw(axes, curves.of(arm.name, "true", estimator), dashed, 1.2, band=False)
                _draw(axes, curves.of(arm.name, "own", estimator), solid, 1.8)
                axes.grid(axis="y")
                if arm is arms[0]:
                    measure = curves.gathered.measures[estimator]
                    entitle(axes, score, estimator, better=measure.higher_is_better)
                if arm is arms[-1]:
                    axes.set_xlabel("frame of the video")
            row[0].set_ylabel(labels[arm.name], rotation=0, ha="right", va="center", fontsize=8.5, color=INK)
        handles = [
            Line2D([], [], color=INK, lw=1.8, label=f"{HISTORIES_IN_FULL['own']}, with 95 % band"),
            Line2D([], [], color=INK, lw=1.2, ls=_TRUE_DASH, label=HISTORIES_IN_FULL["true"]),
            truth_line(lw=0.8),
        ]
        legend_below(figure, handles)
        headline(
            figure,
            f"Exposure bias: scores from {HISTORIES['own']} against {HISTORIES['true']}",
            "Solid falls below dashed: errors accumulate. Both far from the ground truth: the model is weak.",
        )
        return save(figure, path)


def drift_bars(gathered: Gathered, table: Table, arms_looks: Mapping[str, Look], path: Path) -> Path:
    """Draw mean |d| with its interval as bars, the ground truth's mean |d| as a line."""
    return _bars(gathered, table, arms_looks, path, "Short bars: little drift.", floor=True)


def gap_bars(gathered: Gathered, table: Table, arms_looks: Mapping[str, Look], path: Path) -> Path:
    """Draw the exposure-bias gap per score and arm, with intervals."""
    hint = "Near 0: the model's errors do not accumulate. To the right: they do."
    return _bars(gathered, table, arms_looks, path, hint, floor=False)


def _bars(
    gathered: Gathered, table: Table, arms_looks: Mapping[str, Look], path: Path, hint: str, *, floor: bool
) -> Path:
    labels = {arm.name: wrapped(arm.label, 20) for arm in gathered.arms}
    high = max(0.3, LINE * most_lines(labels.values()))
    defined = [
        i
        for i, _ in enumerate(table.columns)
        if any(np.isfinite(line.cells[i].value) for line in table.lines)
    ]
    lines = [line for line in table.lines if line.kind != "floor"]
    truths = [line for line in table.lines if line.kind == "floor"]
    with paper():
        figure, grid = panel_grid(len(defined), height=high * len(lines) + 1.0, sharey=True)
        for axes, index in zip(grid, defined, strict=False):
            column = table.columns[index]
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            for place, line in enumerate(lines):
                cell, look = line.cells[index], arms_looks[line.name]
                if np.isfinite(cell.value):
                    axes.barh(place, cell.value, 0.62, color=look.colour, alpha=0.85)
                if np.isfinite(cell.low):
                    axes.plot([cell.low, cell.high], [place, place], color=INK, lw=1.2, solid_capstyle="butt")
            for truth in truths if floor else ():
                if np.isfinite(truth.cells[index].value):
                    axes.axvline(truth.cells[index].value, color=TRUTH_COLOUR, lw=1.2, ls=(0, (3, 2)))
            axes.axvline(0, color="#888888", lw=0.8)
            axes.set_title(column.title, pad=13)
            axes.set_xlabel("mean |d|" if floor else "true less generated history", fontsize=8)
            above(axes, column.subtitle)
            axes.set_yticks(range(len(lines)), [labels[line.name] for line in lines], color=INK)
            axes.tick_params(axis="y", length=0, labelsize=8.5)
        grid[0].invert_yaxis()
        handles = [Line2D([], [], color=INK, lw=1.2, label="95 % interval")]
        if floor and truths:
            handles.append(truth_line(lw=1.2, ls=(0, (3, 2))))
            hint += " Up to the dashed line it is no larger than the measure's noise on true videos."
        legend_below(figure, handles)
        headline(figure, table.title, hint)
        return save(figure, path)


def panel_grid(
    count: int, *, height: float, sharey: bool = False, width: float = 2.45, columns: int = _COLUMNS
) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels in rows of `columns`; `height` and `width` of a panel in inches.

    Without a panel, as where nothing is defined, there is one hidden place.
    """
    columns = max(1, min(columns, count))
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(max(_NARROWEST, width * columns), height * rows + 0.5), layout="constrained")
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).flat)
    for axes in grid[count:]:
        hide(axes)
    return figure, grid


def entitle(axes: Axes, score: str, estimator: str, *, better: bool | None) -> None:
    """Write a panel's title: the score, the better direction, what that means, and the estimator."""
    meaning = SCORES[score].meaning if score in SCORES and better is not False else ""
    axes.set_title(f"{score_title(score)}{ARROWS[better]}", pad=24)
    above(axes, f"{meaning}\n{estimator}")


def above(axes: Axes, text: str, colour: str = "#666666") -> None:
    """Write small print between the title and the top of a panel."""
    axes.annotate(
        text, (0, 1), (0, 3), "axes fraction", textcoords="offset points", fontsize=7.5, color=colour
    )


def _draw(
    axes: Axes, curve: Curve | None, look: Look, width: float, *, band: bool = True, offset: int = 0
) -> None:
    """Draw the mean over training seeds and prompts at each frame, with 95 % interval and a few markers."""
    if curve is None:
        return
    known = np.isfinite(curve.effects.mean)
    times, means, colour = curve.times[known], curve.effects.mean[known], look.colour
    at = range((4 + offset) % max(1, len(times)), len(times), _BETWEEN)
    (line,) = axes.plot(times, means, color=colour, ls=look.dash, lw=width, zorder=3)
    line.set(marker=look.marker, markevery=list(at), markersize=4)
    if math.isfinite(curve.first):
        axes.plot(0, curve.first, "o", color=colour, ms=3.5, zorder=4, clip_on=False)
    if band:
        axes.fill_between(curve.times, *curve.band, color=colour, alpha=0.12, lw=0, zorder=2)


def _sections(axes: Axes, borders: Sequence[int]) -> None:
    for border in borders:
        axes.axvline(border - 0.5, color=FAINT, lw=0.7, zorder=1)


def shade_patch() -> Patch:
    """Make the legend's entry of the shaded segments."""
    share = f"{100 * FRACTION:.0f} %"
    return Patch(facecolor=SHADE, edgecolor="#c9ced3", label=f"first and last {share}: drift compares these")


def _segments(axes: Axes, frames: int) -> None:
    """Shade the segments that drift compares."""
    part = segment(frames)
    for side in (part.start, part.end):
        axes.axvspan(side[0] - 0.5, side[-1] + 0.5, color=SHADE, lw=0, zorder=0)
