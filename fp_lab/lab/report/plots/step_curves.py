"""Plots of a training: scores and drift of its checkpoints against the step, losses by noise level."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from fp_lab.lab.report.plots.curves import entitle, panel_grid, running_mean
from fp_lab.lab.report.plots.style import (
    FLOOR,
    TRUTH_COLOUR,
    Look,
    arm_line,
    headline,
    legend_below,
    paper,
    save,
    truth_line,
)
from fp_lab.lab.results.arms import Arm

_Content = TypeVar("_Content")

LOSSES = {
    "loss": "loss",
    "gradient_norm": "gradient norm",
    "loss_sigma_0_25": "loss, noise 0 to 0.25",
    "loss_sigma_25_50": "loss, noise 0.25 to 0.5",
    "loss_sigma_50_75": "loss, noise 0.5 to 0.75",
    "loss_sigma_75_100": "loss, noise 0.75 to 1",
}
"""Drawn columns of ``train/loss.parquet``, with their titles."""


@dataclass(frozen=True)
class Curve:
    """A metric of one arm against the step; NaN where undefined or without an interval.

    Attributes:
        steps: training steps, ascending.
        mean: one mean per step.
        low: lower bounds of the 95 % intervals.
        high: upper bounds of the 95 % intervals.
    """

    steps: Sequence[int]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, eq=False)
class Panel:
    """A panel of one score.

    Attributes:
        score: key of the score.
        estimator: name of the estimator.
        curves: curves by arm.
        floor: value of the ground truth; NaN without one.
        better: whether higher values are better; None where neither direction is.
    """

    score: str
    estimator: str
    curves: Mapping[str, Curve]
    floor: float = float("nan")
    better: bool | None = None


def step_curves(
    panels: Sequence[Panel],
    arms: Sequence[Arm],
    looks: Mapping[str, Look],
    path: Path,
    *,
    title: str,
    hint: str,
) -> Path:
    """Draw one panel per score, one line per arm with its 95 % band, as PNG and as SVG of the same name.

    Args:
        panels: panels in reading order.
        arms: all arms that may be in a panel.
        looks: colours, dashes and markers by arm.
        path: path of the PNG.
        title: title of the picture.
        hint: what to look for.
    """

    def draw(axes: Axes, panel: Panel) -> None:
        if np.isfinite(panel.floor):
            axes.axhline(panel.floor, color=TRUTH_COLOUR, zorder=1, **FLOOR)
        for name, curve in panel.curves.items():
            look = looks[name]
            axes.plot(
                curve.steps, curve.mean, lw=1.7, ms=4, color=look.colour, ls=look.dash, marker=look.marker
            )
            axes.fill_between(curve.steps, curve.low, curve.high, color=look.colour, alpha=0.12, lw=0)
        entitle(axes, panel.score, panel.estimator, better=panel.better)

    floor = [truth_line(**FLOOR)] if any(np.isfinite(panel.floor) for panel in panels) else []
    handles = [*(arm_line(looks[arm.name], arm.label) for arm in arms), *floor]
    return _panels(panels, draw, handles, path, title, hint)


def loss_curves(
    tables: Mapping[str, pd.DataFrame], arms: Sequence[Arm], looks: Mapping[str, Look], path: Path
) -> Path:
    """Draw loss, gradient norm and loss by noise level against the step, smoothed over 1/20 of the training.

    Args:
        tables: tables of the steps, by arm.
        arms: arms of the tables.
        looks: colours, dashes and markers by arm.
        path: path of the PNG; an SVG of the same name is written too.
    """

    def draw(axes: Axes, column: str) -> None:
        for name, table in tables.items():
            values = table[column].to_numpy(float)[None]
            smooth = running_mean(values, max(1, len(table) // 20))[0]
            axes.plot(table["step"], smooth, color=looks[name].colour, ls=looks[name].dash, lw=1.3)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the usual one writes formulas, see `paper`
        axes.yaxis.set_minor_formatter(LogFormatter())
        axes.set_title(LOSSES[column])

    handles = [arm_line(replace(looks[arm.name], marker=""), arm.label) for arm in arms]
    hint = "Lower is better; a gradient norm that jumps tells of an unstable training."
    return _panels(list(LOSSES), draw, handles, path, "Training loss by noise level, and gradient norm", hint)


def _panels(
    contents: Sequence[_Content],
    draw: Callable[[Axes, _Content], None],
    handles: Sequence[Line2D],
    path: Path,
    title: str,
    hint: str,
) -> Path:
    with paper():
        figure, grid = panel_grid(len(contents), height=2.35)
        for axes, content in zip(grid, contents, strict=False):
            draw(axes, content)
            axes.set_xlabel("training step")
            axes.grid(axis="y")
        legend_below(figure, handles)
        headline(figure, title, hint)
        return save(figure, path)
