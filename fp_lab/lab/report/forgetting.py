"""Forgetting against drift: the two halves of the dilemma in one picture, one point per arm."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fp_lab.lab.report.style import INK, TRUTH_COLOUR, Look, paper, save
from fp_metrics import Interval

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h")


@dataclass(frozen=True)
class ForgettingPoint:
    """An arm's two figures.

    Attributes:
        name: the arm.
        label: the same in plain words.
        drift: mean |d| of one score.
        forgotten: agreement of what stayed in sight less that of what came back.
    """

    name: str
    label: str
    drift: Interval
    forgotten: Interval

    @property
    def defined(self) -> bool:
        """Whether both figures are."""
        return math.isfinite(self.drift.mean) and math.isfinite(self.forgotten.mean)


def forgetting_scatter(
    points: Sequence[ForgettingPoint],
    arms_looks: Mapping[str, Look],
    path: Path,
    *,
    score: str,
    kind: str,
    floor: ForgettingPoint | None = None,
) -> Path:
    """One point per arm with both 95 % intervals; the lower left corner is where neither happens.

    Args:
        points: arms with an undefined figure are named below the picture, not drawn.
        arms_looks: by arm.
        path: of the PNG.
        score: whose drift it is, for the axis.
        kind: of what came back (object or place), for the axis.
        floor: the ground truth through the codec, drawn as a cross of dashed lines.

    Raises:
        ValueError: when no arm has both figures.
    """
    drawn = [point for point in points if point.defined]
    if not drawn:
        raise ValueError("no arm has both a drift and a figure of forgetting: there is nothing to draw")
    missing = [point.label for point in points if not point.defined]
    with paper():
        figure = Figure(figsize=(6.4, 4.6 + 0.17 * len(drawn)), layout="constrained")
        axes = figure.subplots()
        axes.grid()
        axes.set_axisbelow(True)
        if floor is not None and floor.defined:
            line: dict[str, Any] = {"color": TRUTH_COLOUR, "lw": 1.0, "ls": (0, (3, 2)), "zorder": 1}
            axes.axvline(floor.drift.mean, label="ground truth through the codec", **line)
            axes.axhline(floor.forgotten.mean, **line)
        for point, marker in zip(points, itertools.cycle(_MARKERS), strict=False):
            if not point.defined:
                continue
            axes.errorbar(
                point.drift.mean,
                point.forgotten.mean,
                xerr=_reach(point.drift),
                yerr=_reach(point.forgotten),
                fmt=marker,
                ms=7,
                color=arms_looks[point.name].colour,
                elinewidth=1.1,
                label=point.label if point.label == point.name else f"{point.label}:  {point.name}",
            )
        axes.set_xlabel(f"drift of {score}, mean |d|  (less is better)")
        axes.set_ylabel(f"forgetting of the {kind}  (less is better)")
        if missing:
            note = f"undefined: {', '.join(missing)}"
            axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=7.5, color=INK)
        figure.legend(loc="outside lower center", fontsize=8.5)
        return save(figure, path)


def _reach(interval: Interval) -> list[list[float]] | None:
    """How far the interval reaches below and above its mean, as matplotlib takes it; None without one."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return [[max(0.0, interval.mean - interval.low)], [max(0.0, interval.high - interval.mean)]]
