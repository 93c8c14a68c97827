"""Scatter plots of two metrics, one point per arm: forgetting and drift, quality and cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fp_lab.lab.report.plots.style import (
    FLOOR,
    INK,
    LINE,
    TRUTH_COLOUR,
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
from fp_metrics import Interval

_ACROSS = 3  # panels
_BESIDE, _NOTE_LETTER = 0.9, 0.062  # inches: labels of the vertical axis, a letter of the note above
_END = {
    ("less", "less"): "lower left",
    ("less", "more"): "upper left",
    ("more", "less"): "lower right",
    ("more", "more"): "upper right",
}


@dataclass(frozen=True)
class Point:
    """Two metrics of an arm.

    Attributes:
        name: name of the arm.
        label: label of the arm in plain words.
        x: value along the horizontal axis.
        y: value along the vertical axis.
    """

    name: str
    label: str
    x: Interval
    y: Interval

    @property
    def defined(self) -> bool:
        """Whether both values are defined."""
        return math.isfinite(self.x.mean) and math.isfinite(self.y.mean)


@dataclass(frozen=True)
class Axis:
    """An axis, with the direction that is better."""

    title: str
    better: Literal["less", "more"]

    @property
    def label(self) -> str:
        """Text along the axis."""
        return f"{self.title}  ({self.better} is better)"


def scatter(
    panels: Sequence[Sequence[Point]],
    axes: Sequence[tuple[Axis, Axis]],
    arms_looks: Mapping[str, Look],
    path: Path,
    title: str,
    *,
    floor: Point | None = None,
) -> Path:
    """Draw one point per arm with both 95 % intervals, in one panel or several side by side.

    Args:
        panels: points of the same arms in each panel; arms with an undefined value are named above it, not
            drawn.
        axes: horizontal and vertical axis of each panel.
        arms_looks: colours, dashes and markers by arm.
        path: path of the PNG.
        title: title of the picture.
        floor: point of the ground truth through the codec, drawn as a cross of dashed lines.

    Raises:
        ValueError: no arm has both values of any panel.
    """
    if not any(point.defined for points in panels for point in points):
        raise ValueError("no arm has both figures: there is nothing to draw")
    across = min(len(panels), _ACROSS)
    down = math.ceil(len(panels) / across)
    with paper():
        wide, high = (7.0, 4.6) if across == 1 else (3.4 * across, 3.0 * down)
        notes = [_undefined(points, wide / across) for points in panels]
        high += LINE * down * (most_lines(notes) - 1)
        figure = Figure(figsize=(wide, high + 0.4), layout="constrained")
        shown = figure.subplots(down, across, squeeze=False).ravel()
        for place, points, note, (x, y) in zip(shown, panels, notes, axes, strict=False):
            _panel(place, points, arms_looks, floor)
            if note:
                place.text(0, 1.02, note, transform=place.transAxes, fontsize=7.5, color=INK)
            place.set_xlabel(x.label)
            place.set_ylabel(y.label)
        for place in shown[len(panels) :]:
            hide(place)
        known = {point.name: point for points in panels for point in points if point.defined}
        handles = [arm_line(replace(arms_looks[name], dash=""), point.label) for name, point in known.items()]
        legend_below(figure, [*handles, *([truth_line(**FLOOR)] if floor and floor.defined else [])])
        ends = dict.fromkeys((_END[x.better, y.better]) for x, y in axes)
        headline(figure, title, f"One point per arm, 95 % intervals. Best: {' or '.join(ends)}.")
        return save(figure, path)


def _panel(axes: Axes, points: Sequence[Point], arms_looks: Mapping[str, Look], floor: Point | None) -> None:
    axes.grid()
    axes.set_axisbelow(True)
    if floor is not None and floor.defined:
        axes.axvline(floor.x.mean, color=TRUTH_COLOUR, zorder=1, **FLOOR)
        axes.axhline(floor.y.mean, color=TRUTH_COLOUR, zorder=1, **FLOOR)
    for point in points:
        if point.defined:
            look = arms_looks[point.name]
            axes.errorbar(
                point.x.mean,
                point.y.mean,
                xerr=_reach(point.x),
                yerr=_reach(point.y),
                fmt=look.marker,
                ms=7,
                color=look.colour,
                elinewidth=1.1,
                label=point.label,
            )


def _undefined(points: Sequence[Point], wide: float) -> str:
    """Arms that are not drawn in a panel of a width in inches, in lines; empty without any."""
    missing = [point.label for point in points if not point.defined]
    return (
        wrapped(f"undefined: {', '.join(missing)}", int((wide - _BESIDE) / _NOTE_LETTER)) if missing else ""
    )


def _reach(interval: Interval) -> list[list[float]] | None:
    """Distances of an interval's bounds from its mean, for matplotlib; None without interval."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return [[max(0.0, interval.mean - interval.low)], [max(0.0, interval.high - interval.mean)]]
