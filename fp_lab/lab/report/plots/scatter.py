"""Two figures of every arm against each other, one point per arm: forgetting and drift, quality and cost."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fp_lab.lab.report.plots.style import INK, TRUTH_COLOUR, Look, hide, paper, save
from fp_metrics import Interval

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h")
_ACROSS = 3  # panels


@dataclass(frozen=True)
class Point:
    """An arm's two figures.

    Attributes:
        name: the arm.
        label: the same in plain words.
        x: along the horizontal axis.
        y: along the vertical axis.
    """

    name: str
    label: str
    x: Interval
    y: Interval

    @property
    def defined(self) -> bool:
        """Whether both figures are."""
        return math.isfinite(self.x.mean) and math.isfinite(self.y.mean)


@dataclass(frozen=True)
class Axis:
    """What an axis shows, and which end of it is better."""

    title: str
    better: Literal["less", "more"]

    @property
    def label(self) -> str:
        """The text along the axis."""
        return f"{self.title}  ({self.better} is better)"


def scatter(
    panels: Sequence[Sequence[Point]],
    axes: Sequence[tuple[Axis, Axis]],
    arms_looks: Mapping[str, Look],
    path: Path,
    *,
    floor: Point | None = None,
) -> Path:
    """One point per arm with both 95 % intervals, in one panel or several side by side.

    Args:
        panels: the same arms in each; one with an undefined figure is named above its panel, not drawn.
        axes: horizontal and vertical axis of each panel.
        arms_looks: by arm.
        path: of the PNG.
        floor: the ground truth through the codec, drawn as a cross of dashed lines.

    Raises:
        ValueError: when no arm has both figures of any panel.
    """
    if not any(point.defined for points in panels for point in points):
        raise ValueError("no arm has both figures: there is nothing to draw")
    across = min(len(panels), _ACROSS)
    down = math.ceil(len(panels) / across)
    with paper():
        wide, high = (6.4, 4.6) if across == 1 else (4.2 * across, 3.4 * down)
        figure = Figure(figsize=(wide, high + 0.17 * len(panels[0])), layout="constrained")
        shown = figure.subplots(down, across, squeeze=False).ravel()
        for place, points, (x, y) in zip(shown, panels, axes, strict=False):
            _panel(place, points, arms_looks, floor)
            place.set_xlabel(x.label)
            place.set_ylabel(y.label)
        for place in shown[len(panels) :]:
            hide(place)
        handles: dict[str, Any] = {}
        for place in shown[: len(panels)]:
            handles |= {
                str(label): handle for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
            }
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", fontsize=8.5)
        return save(figure, path)


def _panel(axes: Axes, points: Sequence[Point], arms_looks: Mapping[str, Look], floor: Point | None) -> None:
    axes.grid()
    axes.set_axisbelow(True)
    if floor is not None and floor.defined:
        line: dict[str, Any] = {"color": TRUTH_COLOUR, "lw": 1.0, "ls": (0, (3, 2)), "zorder": 1}
        axes.axvline(floor.x.mean, label="ground truth through the codec", **line)
        axes.axhline(floor.y.mean, **line)
    for point, marker in zip(points, itertools.cycle(_MARKERS), strict=False):
        if point.defined:
            axes.errorbar(
                point.x.mean,
                point.y.mean,
                xerr=_reach(point.x),
                yerr=_reach(point.y),
                fmt=marker,
                ms=7,
                color=arms_looks[point.name].colour,
                elinewidth=1.1,
                label=point.label if point.label == point.name else f"{point.label}:  {point.name}",
            )
    if missing := [point.label for point in points if not point.defined]:
        note = f"undefined: {', '.join(missing)}"
        axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=7.5, color=INK)


def _reach(interval: Interval) -> list[list[float]] | None:
    """How far the interval reaches below and above its mean, as matplotlib takes it; None without one."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return [[max(0.0, interval.mean - interval.low)], [max(0.0, interval.high - interval.mean)]]
