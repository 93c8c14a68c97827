"""Plots of a comparison: scores over video time, drift with its noise floor, exposure-bias gaps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fp_lab.lab.report.plots.style import FAINT, INK, TRUTH_COLOUR, LineStyle, Look, hide, paper, save
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.scoring.files import NOISE_FLOOR, clusters
from fp_lab.lab.tables import Table
from fp_metrics.effects import Effects, effects_of
from fp_metrics.segments import segment

SMOOTHING = 5
"""Frames of the running mean that curves are drawn with."""
_COLUMNS = 4


class Curves:
    """Scores over video time, smoothed; sorted out once for all plots.

    Attributes:
        gathered: the scores they come from.
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
        """The curve of an arm (or of the ground truth); None where nothing is defined."""
        return self._curves.get((arm, history, estimator))

    def truth(self, estimator: str) -> "Curve | None":
        """The ground truth's curve, through the codec."""
        return self.of(NOISE_FLOOR, NOISE_FLOOR, estimator)

    def defined(self, estimators: Mapping[str, str]) -> list[tuple[str, str]]:
        """Score and estimator of those that have a curve in some arm."""
        known = {estimator for _, _, estimator in self._curves}
        return [(score, estimator) for score, estimator in estimators.items() if estimator in known]


@dataclass(frozen=True, eq=False)
class Curve:
    """A score over video time; NaN where undefined.

    Attributes:
        times: frames, ``(t,)``.
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
    """Centred running mean along the last axis of ``k t``, over the finite values of each window."""
    finite = np.isfinite(values)
    window = np.ones(min(width, values.shape[1]))
    sums = np.array([np.convolve(row, window, "same") for row in np.where(finite, values, 0.0)])
    counts = np.array([np.convolve(row, window, "same") for row in finite.astype(float)])
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0.5)


def score_curves(
    curves: Curves, family: str, arms_looks: Mapping[str, Look], borders: Sequence[int], path: Path
) -> Path:
    """One panel per score: mean over videos at each frame, own history, all arms, with 95 % bands.

    Args:
        curves: of all arms.
        family: of estimators; PSNR, where there is a reference, gets a panel too.
        arms_looks: by arm.
        borders: first frames of sections, drawn faintly.
        path: of the PNG.
    """
    companions = curves.gathered.estimators("companion")
    wanted = {**curves.gathered.estimators(family), **{s: e for s, e in companions.items() if s == "psnr"}}
    panels = curves.defined(wanted)
    with paper():
        figure, grid = panel_grid(len(panels), height=2.35)
        for axes, (score, estimator) in zip(grid, panels, strict=False):
            _sections(axes, borders)
            _segments(axes, int(curves.gathered.protocol["frames"]))
            _draw(axes, curves.truth(estimator), TRUTH_COLOUR, "-", 1.0, band=False)
            for arm in curves.gathered.arms:
                look = arms_looks[arm.name]
                _draw(axes, curves.of(arm.name, "own", estimator), look.colour, look.dash, 1.7)
            _dress(axes, score, estimator)
        _legend(figure, curves.gathered.arms, arms_looks)
        return save(figure, path)


def history_curves(
    curves: Curves,
    estimators: Mapping[str, str],
    arms_looks: Mapping[str, Look],
    borders: Sequence[int],
    path: Path,
) -> Path:
    """One row per arm, one column per score: own history against true history, with the ground truth.

    Args:
        curves: of all arms.
        estimators: score -> estimator of the columns.
        arms_looks: by arm.
        borders: first frames of sections, drawn faintly.
        path: of the PNG.
    """
    panels, arms = curves.defined(estimators), curves.gathered.arms
    with paper():
        figure = Figure(figsize=(2.9 * len(panels) + 1.2, 1.25 * len(arms) + 0.6), layout="constrained")
        grid = figure.subplots(len(arms), len(panels), squeeze=False, sharex=True, sharey="col")
        for row, arm in zip(grid, arms, strict=True):
            look = arms_looks[arm.name]
            for axes, (score, estimator) in zip(row, panels, strict=True):
                _sections(axes, borders)
                _draw(axes, curves.truth(estimator), TRUTH_COLOUR, "-", 0.8, band=False)
                _draw(
                    axes, curves.of(arm.name, "true", estimator), look.colour, (0, (2, 1.5)), 1.2, band=False
                )
                _draw(axes, curves.of(arm.name, "own", estimator), look.colour, "-", 1.8)
                axes.grid(axis="y")
                if arm is arms[0]:
                    axes.set_title(score)
                if arm is arms[-1]:
                    axes.set_xlabel("frame")
            row[0].set_ylabel(
                _wrapped(arm.label, 16), rotation=0, ha="right", va="center", fontsize=8.5, color=INK
            )
        handles = [
            Line2D([], [], color=INK, lw=1.8, label="own history, with 95 % band"),
            Line2D([], [], color=INK, lw=1.2, ls=(0, (2, 1.5)), label="true history"),
            Line2D([], [], color=TRUTH_COLOUR, lw=0.8, label="ground truth through the codec"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8.5)
        return save(figure, path)


def drift_bars(gathered: Gathered, table: Table, arms_looks: Mapping[str, Look], path: Path) -> Path:
    """Mean |d| with its interval as bars, the signed mean as a dot, the ground truth's mean |d| as a line."""
    return _bars(gathered, table, arms_looks, path, floor=True)


def gap_bars(gathered: Gathered, table: Table, arms_looks: Mapping[str, Look], path: Path) -> Path:
    """Exposure-bias gap per score and arm, with intervals."""
    return _bars(gathered, table, arms_looks, path, floor=False)


def _bars(
    gathered: Gathered, table: Table, arms_looks: Mapping[str, Look], path: Path, *, floor: bool
) -> Path:
    labels = {arm.name: arm.label for arm in gathered.arms}
    defined = [
        i
        for i, _ in enumerate(table.columns)
        if any(np.isfinite(line.cells[i].value) for line in table.lines)
    ]
    lines = [line for line in table.lines if line.kind != "floor"]
    truths = [line for line in table.lines if line.kind == "floor"]
    with paper():
        figure, grid = panel_grid(len(defined), height=0.3 * len(lines) + 1.0, sharey=True, width=3.1)
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
            axes.set_title(column.title)
            axes.set_xlabel(column.subtitle, fontsize=7.5, color="#666666")
            axes.set_yticks(range(len(lines)), [_wrapped(labels[line.name], 26) for line in lines], color=INK)
            axes.tick_params(axis="y", length=0, labelsize=8.5)
        grid[0].invert_yaxis()
        handles = [Line2D([], [], color=INK, lw=1.2, label="95 % interval")]
        if floor and truths:
            label = "noise floor: ground truth through the codec"
            handles.append(Line2D([], [], color=TRUTH_COLOUR, lw=1.2, ls=(0, (3, 2)), label=label))
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8.5)
        return save(figure, path)


def panel_grid(
    count: int, *, height: float, sharey: bool = False, width: float = 3.25, columns: int = _COLUMNS
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels in rows of `columns`; `height` and `width` of one in inches."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.5), layout="constrained")
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).flat)
    for axes in grid[count:]:
        hide(axes)
    return figure, grid


def _draw(
    axes: Axes, curve: Curve | None, colour: str, dash: LineStyle, width: float, *, band: bool = True
) -> None:
    """Mean over training seeds and prompts at each frame, with its 95 % interval."""
    if curve is None:
        return
    known = np.isfinite(curve.effects.mean)
    axes.plot(curve.times[known], curve.effects.mean[known], color=colour, ls=dash, lw=width, zorder=3)
    if math.isfinite(curve.first):
        axes.plot(0, curve.first, "o", color=colour, ms=3.5, zorder=4, clip_on=False)
    if band:
        axes.fill_between(curve.times, *curve.band, color=colour, alpha=0.12, lw=0, zorder=2)


def _sections(axes: Axes, borders: Sequence[int]) -> None:
    for border in borders:
        axes.axvline(border - 0.5, color=FAINT, lw=0.7, zorder=1)


def _segments(axes: Axes, frames: int) -> None:
    """Shade the segments that drift compares."""
    part = segment(frames)
    for side in (part.start, part.end):
        axes.axvspan(side[0] - 0.5, side[-1] + 0.5, color="#f1f3f5", lw=0, zorder=0)


def _dress(axes: Axes, score: str, estimator: str) -> None:
    axes.set_title(score)
    axes.set_xlabel("frame")
    axes.text(
        1, 1.02, estimator, transform=axes.transAxes, ha="right", va="bottom", fontsize=6.8, color="#777777"
    )
    axes.grid(axis="y")
    axes.margins(x=0.01)


def _legend(figure: Figure, arms: Sequence[Arm], arms_looks: Mapping[str, Look]) -> None:
    handles = [
        Line2D(
            [],
            [],
            color=arms_looks[arm.name].colour,
            ls=arms_looks[arm.name].dash,
            lw=2,
            label=_described(arm),
        )
        for arm in arms
    ]
    handles.append(Line2D([], [], color=TRUTH_COLOUR, lw=1.0, label="ground truth through the codec"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        fontsize=8.5,
        handlelength=3.2,
        columnspacing=2.5,
    )


def _described(arm: Arm) -> str:
    return arm.name if arm.label == arm.name else f"{arm.label}:  {arm.name}"


def _wrapped(label: str, width: int) -> str:
    """Break a long label at underscores, blanks and dashes."""
    lines = [""]
    for word in label.replace("_", "_\0").replace(" ", " \0").replace("--", "\0--").split("\0"):
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.strip() for line in lines)
