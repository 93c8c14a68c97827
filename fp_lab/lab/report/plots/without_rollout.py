"""Plots of measures without rollout: influence of levels arm by arm, errors over sections."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fp_lab.lab.compare.without_rollout import ERROR_TITLES, UNREAD, ArmLevelInfluence, error_panels
from fp_lab.lab.report.plots.curves import panel_grid
from fp_lab.lab.report.plots.style import (
    INK,
    LINE,
    Look,
    arm_line,
    headline,
    legend_below,
    most_lines,
    paper,
    save,
    wrapped,
)
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.scoring.without_rollout import ERRORS

_NOISE = "#b9b9b9"
_COLUMNS = 3


def draw_influence(found: Sequence[ArmLevelInfluence], arms_looks: Mapping[str, Look], path: Path) -> Path:
    """Draw a panel per arm: a bar per level with its interval, and a thin bar of its noise below.

    Args:
        found: influence of every level of every arm.
        arms_looks: colours by arm.
        path: path of the PNG.
    """
    arms = {one.arm.name: [other for other in found if other.arm == one.arm] for one in found}
    most = max(len(levels) for levels in arms.values())
    farthest = max(np.nanmax([one.influence.high, one.influence.mean, one.noise.mean]) for one in found)
    axis = max(1.0, float(farthest))
    titles = {name: wrapped(levels[0].arm.label, 20) for name, levels in arms.items()}
    high = 0.34 * most + LINE * most_lines(titles.values()) + 0.8
    with paper():
        figure, grid = panel_grid(len(arms), height=high, width=3.0, columns=_COLUMNS)
        for axes, (name, levels) in zip(grid, arms.items(), strict=False):
            axes.grid(axis="x")
            axes.set_axisbelow(True)
            for place, one in enumerate(levels):
                axes.barh(place - 0.13, one.influence.mean, 0.44, color=arms_looks[name].colour, alpha=0.85)
                axes.barh(place + 0.25, one.noise.mean, 0.2, color=_NOISE)
                end = np.nanmax([one.influence.high, one.influence.mean]) + 0.02 * axis
                axes.text(
                    end, place - 0.13, f"{one.influence.mean:.2g}", va="center", fontsize=7.5, color=INK
                )
                for where, interval in ((place - 0.13, one.influence), (place + 0.25, one.noise)):
                    if np.isfinite(interval.low):
                        ends = [interval.low, interval.high]
                        axes.plot(ends, [where, where], color=INK, lw=1.0, solid_capstyle="butt")
            names = [f"{one.level}\n{UNREAD}" if one.unread else one.level for one in levels]
            axes.set_yticks(range(len(levels)), names, color=INK)
            axes.tick_params(axis="y", length=0, labelsize=8)
            axes.set_ylim(most - 0.4, -0.6)
            axes.set_xlim(0, 1.15 * axis)
            axes.axvline(1, color="#888888", lw=0.8, ls=(0, (3, 2)))
            axes.set_title(titles[name])
            axes.set_xlabel("influence R", fontsize=8)
        legend_below(
            figure,
            [
                Patch(facecolor=INK, alpha=0.85, label="R: this level from another video, coloured by arm"),
                Patch(facecolor=_NOISE, label="its noise: the level after one more round trip"),
                Line2D([], [], color=INK, lw=1.0, label="95 % interval"),
                Line2D([], [], color="#888888", lw=0.8, ls=(0, (3, 2)), label="all levels"),
            ],
        )
        headline(
            figure,
            "Influence of levels: what each arm reads of its history",
            "A bar that is no longer than the grey one below it: the model does not read that level.",
        )
        return save(figure, path)


def draw_step_errors(gathered: Gathered, arms_looks: Mapping[str, Look], path: Path) -> Path:
    """Draw a panel per kind of error: mean of each section, in the order of generation, with 95 % bands.

    Args:
        gathered: scores of the arms, of which some have measures without rollout.
        arms_looks: colours, dashes and markers by arm.
        path: path of the PNG.
    """
    panels, rows = error_panels(gathered), gathered.without_rollout
    shown = [score for score, measure in ERRORS.items() if (rows["measure"] == measure).any()]
    arms = [arm for arm in gathered.arms if (rows["arm"] == arm.name).any()]
    with paper():
        figure, grid = panel_grid(len(shown), height=2.6, width=3.1, columns=_COLUMNS)
        for axes, score in zip(grid, shown, strict=False):
            measure = ERRORS[score]
            places = sorted(rows.loc[rows["measure"] == measure, "place"].unique())
            known = {place: panels.panel(f"{measure}/{place}", "value").intervals for place in places}
            for arm in arms:
                own = {place + 1: found[arm.name] for place, found in known.items() if arm.name in found}
                look, at = arms_looks[arm.name], list(own)
                means = [found.mean for found in own.values()]
                axes.plot(at, means, color=look.colour, ls=look.dash, marker=look.marker, lw=1.6, ms=4)
                low, high = ([getattr(found, end) for found in own.values()] for end in ("low", "high"))
                axes.fill_between(at, low, high, color=look.colour, alpha=0.12, lw=0)
            axes.set_title(f"{ERROR_TITLES[score]} ↓")
            axes.set_xlabel("section, in the order of generation")
            axes.set_ylabel("mean squared error" if axes is grid[0] else "")
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y")
        sampled = [axes for axes, score in zip(grid, shown, strict=False) if score != "velocity"]
        for axes in sampled:
            axes.set_ylim(top=max(other.get_ylim()[1] for other in sampled))
        legend_below(figure, [arm_line(arms_looks[arm.name], arm.label) for arm in arms])
        headline(
            figure,
            "Errors of single steps against the section",
            "From true history no error is carried on: what the rollout has above it accumulates.",
        )
        return save(figure, path)
