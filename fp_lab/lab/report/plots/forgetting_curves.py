"""Plot of forgetting: recall of hidden content by each arm."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from fp_lab.lab.compare.forgetting import ArmForgetting, Remembered
from fp_lab.lab.report.plots.curves import above, panel_grid
from fp_lab.lab.report.plots.style import (
    INK,
    TRUTH_COLOUR,
    Look,
    arm_line,
    headline,
    hide,
    legend_below,
    paper,
    save,
    truth_line,
    wrapped,
)
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.tables.glossary import HISTORIES, HISTORIES_IN_FULL, RETURNS
from fp_metrics.returns import GapBin, Kind

_FIGURES: dict[Kind, Literal["agreement", "psnr"]] = {
    "object": "agreement",
    "place": "agreement",
    "recall": "psnr",
    "told": "agreement",
}
_KINDS: tuple[Kind, ...] = ("recall", "told", "place", "object")  # of the columns
_TRUTH = Look(TRUTH_COLOUR, "-")
MOST_BANDS = 8
"""Largest number of lines that are drawn with their bands; those of more would hide each other."""


def draw_forgetting(
    gathered: Gathered, found: Sequence[ArmForgetting], arms_looks: Mapping[str, Look], path: Path
) -> Path:
    """Draw a row per history, a column per kind of return, a line per arm over hidden frames.

    Args:
        gathered: scores of the arms, with their context tokens.
        found: forgetting of arms and ground truth, for those with returns.
        arms_looks: colours, dashes and markers by arm; the ground truth is black.
        path: path of the PNG.
    """
    bins = {kinds: [one for arm in found for one in _known(arm, kinds)] for kinds in found[0].kinds}
    gaps = sorted({(one.least, one.most) for known in bins.values() for one in known}, key=lambda gap: gap[0])
    histories = [history for history in HISTORIES if any(bins[of] for of in bins if of[0] == history)]
    shown = [kind for kind in _KINDS if any(known for of, known in bins.items() if of[1] == kind)]
    banded = len(found) <= MOST_BANDS
    last = int(gathered.protocol["frames"]) - 1
    with paper():
        panels = [(history, kind) for history in histories for kind in shown]
        figure, grid = panel_grid(len(panels), height=2.3, width=3.1, columns=len(shown))
        for axes, kinds in zip(grid, panels, strict=True):
            if not bins.get(kinds):
                hide(axes)
                continue
            for arm in found:
                _draw(axes, arm, kinds, gaps, arms_looks.get(arm.name, _TRUTH), banded=banded)
            term = RETURNS[kinds[1]]
            axes.set_title(f"{term.title} ↑", pad=13)
            above(axes, HISTORIES_IN_FULL[kinds[0]], INK)
            axes.set_ylabel(wrapped(term.meaning, 26))
            axes.set_xlabel("frames hidden")
            names = [f"{least}–{min(most or last, last)}" for least, most in gaps]
            axes.set_xticks(range(len(gaps)), names, fontsize=8)
            axes.grid(axis="y")
        handles = [arm_line(arms_looks[arm.name], _described(arm)) for arm in gathered.arms]
        legend_below(figure, [*handles, truth_line(marker="o", ms=4)])
        headline(
            figure,
            f"What comes back into view after it was hidden{', with 95 % bands' if banded else ''}",
            "Higher: remembers more. Where a line meets that of no history, the reach of its context ends.",
        )
        return save(figure, path)


def _draw(
    axes: Axes,
    arm: ArmForgetting,
    kinds: Remembered,
    gaps: Sequence[tuple[int, int | None]],
    look: Look,
    *,
    banded: bool,
) -> None:
    known = _known(arm, kinds)
    at = [gaps.index((one.least, one.most)) for one in known]
    intervals = [getattr(one, _FIGURES[kinds[1]]) for one in known]
    means = [interval.mean for interval in intervals]
    axes.plot(at, means, color=look.colour, ls=look.dash, lw=1.0 if look is _TRUTH else 1.7, zorder=3)
    axes.plot(at, means, look.marker, color=look.colour, ms=4.5, zorder=3)
    if not banded:
        return
    low, high = np.array([(i.low, i.high) for i in intervals]).reshape(-1, 2).T
    if kinds[1] == "told":  # a share; the interval over few training seeds knows no bounds
        low, high = low.clip(0, 1), high.clip(0, 1)
    axes.fill_between(at, low, high, color=look.colour, alpha=0.12, lw=0, zorder=2)


def _known(arm: ArmForgetting, kinds: Remembered) -> list[GapBin]:
    return [one for one in arm.kinds[kinds].bins if one.videos]


def _described(arm: Arm) -> str:
    tokens = "unbounded" if arm.context_tokens is None else f"{arm.context_tokens}"
    return f"{arm.label} ({tokens} context tokens)"
