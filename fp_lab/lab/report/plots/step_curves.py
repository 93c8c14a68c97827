"""Plots of a training: scores and drift of its checkpoints against the step, losses by noise level."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from fp_lab.lab.report.plots.curves import panel_grid, running_mean
from fp_lab.lab.report.plots.style import INK, TRUTH_COLOUR, Look, paper, save
from fp_lab.lab.results.arms import Arm

LOSSES = {
    "loss": "loss",
    "gradient_norm": "gradient norm",
    "loss_sigma_0_25": "loss, noise 0 to 0.25",
    "loss_sigma_25_50": "loss, noise 0.25 to 0.5",
    "loss_sigma_50_75": "loss, noise 0.5 to 0.75",
    "loss_sigma_75_100": "loss, noise 0.75 to 1",
}
"""Columns of ``train/loss.parquet`` that are drawn, and their titles."""


@dataclass(frozen=True)
class Curve:
    """A figure of one arm against the step; NaN where undefined or without an interval.

    Attributes:
        steps: ascending.
        mean: one per step.
        low: of its 95 % interval.
        high: of its 95 % interval.
    """

    steps: Sequence[int]
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, eq=False)
class Panel:
    """One score.

    Attributes:
        title: of the panel.
        subtitle: the estimator.
        curves: by arm.
        floor: of the ground truth; NaN without one.
    """

    title: str
    subtitle: str
    curves: Mapping[str, Curve]
    floor: float = float("nan")


def step_curves(panels: Sequence[Panel], arms: Sequence[Arm], looks: Mapping[str, Look], path: Path) -> Path:
    """One panel per score, one line per arm with its 95 % band; a PNG, and an SVG of the same name.

    Args:
        panels: in reading order.
        arms: all that may be in a panel.
        looks: by arm.
        path: of the PNG.
    """

    def draw(axes: Axes, panel: Panel) -> None:
        if np.isfinite(panel.floor):
            axes.axhline(panel.floor, color=TRUTH_COLOUR, lw=1.0, ls=(0, (3, 2)), zorder=1)
        for name, curve in panel.curves.items():
            look = looks[name]
            axes.plot(curve.steps, curve.mean, color=look.colour, ls=look.dash, lw=1.7, marker="o", ms=3.2)
            axes.fill_between(curve.steps, curve.low, curve.high, color=look.colour, alpha=0.12, lw=0)
        axes.text(
            *(1, 1.02, panel.subtitle),
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=6.8,
            color="#777777",
        )

    floor = any(np.isfinite(panel.floor) for panel in panels)
    return _panels([(panel.title, panel) for panel in panels], draw, arms, looks, path, floor)


def loss_curves(
    tables: Mapping[str, pd.DataFrame], arms: Sequence[Arm], looks: Mapping[str, Look], path: Path
) -> Path:
    """Loss, gradient norm and loss by noise level against the step, smoothed over 1/20 of the training.

    Args:
        tables: of the steps, by arm.
        arms: the same.
        looks: by arm.
        path: of the PNG; an SVG of the same name is written too.
    """

    def draw(axes: Axes, column: str) -> None:
        for name, table in tables.items():
            values = table[column].to_numpy(float)[None]
            smooth = running_mean(values, max(1, len(table) // 20))[0]
            axes.plot(table["step"], smooth, color=looks[name].colour, ls=looks[name].dash, lw=1.3)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())  # the usual one writes formulas, see `paper`
        axes.yaxis.set_minor_formatter(LogFormatter())

    return _panels([(title, column) for column, title in LOSSES.items()], draw, arms, looks, path, False)


def _panels(
    contents: Sequence[tuple[str, Any]],
    draw: Callable[[Axes, Any], None],
    arms: Sequence[Arm],
    looks: Mapping[str, Look],
    path: Path,
    floor: bool,
) -> Path:
    with paper():
        figure, grid = panel_grid(len(contents), height=2.35)
        for axes, (title, content) in zip(grid, contents, strict=False):
            draw(axes, content)
            axes.set_title(title)
            axes.set_xlabel("training step")
            axes.grid(axis="y")
        _legend(figure, arms, looks, floor)
        return save(figure, path)


def _legend(figure: Figure, arms: Sequence[Arm], looks: Mapping[str, Look], floor: bool) -> None:
    handles = [
        Line2D([], [], color=looks[arm.name].colour, ls=looks[arm.name].dash, lw=2, label=arm.label)
        for arm in arms
    ]
    if floor:
        label = "ground truth through the codec"
        handles.append(Line2D([], [], color=TRUTH_COLOUR, lw=1.0, ls=(0, (3, 2)), label=label))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=2, fontsize=8.5, handlelength=3.2, labelcolor=INK
    )
