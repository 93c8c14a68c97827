"""Plot of drift over the length of a video, one line per order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from fp_lab.lab.report.plots.curves import entitle, panel_grid
from fp_lab.lab.report.plots.style import (
    TRUTH_COLOUR,
    Look,
    headline,
    legend_below,
    looks,
    paper,
    save,
    truth_line,
)
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.scoring.files import clusters
from fp_lab.lab.tables.glossary import HISTORIES_IN_FULL
from fp_metrics.effects import effects_of


def draw_orders(gathered: Gathered, path: Path) -> Path:
    """Draw one panel per score of the first family: its change since the start, a line per order.

    Args:
        gathered: scores of the arms; those of one order are averaged, baselines are shown on their own.
        path: path of the PNG.
    """
    groups: dict[str, list[Arm]] = {}
    for arm in gathered.arms:
        groups.setdefault(_group(arm), []).append(arm)
    drawn = looks([arms[0] for arms in groups.values()])
    shown = {name: drawn[arms[0].name] for name, arms in groups.items()}
    names = {arm.name: name for name, arms in groups.items() for arm in arms}
    frames = gathered.frames
    frames = frames[frames["history"] == "own"]
    frames = frames.assign(group=frames["arm"].astype(str).map(names), cluster=clusters(frames))
    floor = gathered.floor_frames
    floor = floor.assign(group="", cluster=clusters(floor))
    estimators = gathered.estimators(gathered.families[0])
    known = set(frames.loc[frames["value"].notna(), "estimator"].astype(str))
    panels = [(score, estimator) for score, estimator in estimators.items() if estimator in known]
    with paper():
        figure, grid = panel_grid(len(panels), height=2.35)
        for axes, (score, estimator) in zip(grid, panels, strict=False):
            for name, look in ({"": Look(TRUTH_COLOUR, "-")} | shown).items():
                rows = floor if not name else frames
                rows = rows[(rows["estimator"] == estimator) & (rows["group"] == name)]
                _draw(axes, rows, look, over_seeds=bool(name) and gathered.basis.over_seeds)
            measure = gathered.measures[estimator]
            entitle(axes, score, estimator, better=measure.higher_is_better)
            axes.set_xlabel("frame of the video")
            axes.grid(axis="y")
        handles = [
            Line2D([], [], color=look.colour, ls=look.dash, lw=2, label=_counted(name, groups[name]))
            for name, look in shown.items()
        ]
        legend_below(figure, [*handles, truth_line(lw=1)])
        headline(
            figure,
            f"Change of each score since the start of the video, {HISTORIES_IN_FULL['own']}, 95 % bands",
            "A line that falls below 0 where higher is better (↑) drifts; one as flat as the truth does not.",
        )
        return save(figure, path)


def _group(arm: Arm) -> str:
    if arm.control:
        return "no history"
    if arm.name.partition("--")[0] != str(arm.recipe):
        return arm.label
    return arm.recipe.order + ("" if arm.recipe.codebook is None else " + D")


def _counted(name: str, arms: Sequence[Arm]) -> str:
    return f"{name} ({len(arms)} arms)" if len(arms) > 1 else name


def _draw(axes: Axes, rows: pd.DataFrame, look: Look, *, over_seeds: bool) -> None:
    """Draw the mean over arms, seeds and prompts minus that of the first part, with its 95 % interval."""
    found = rows.pivot_table(index=["training_seed", "cluster"], columns="frame", values="value")
    if not found.size:
        return
    draws = [found.index.unique(level) for level in found.index.names]
    cells = found.reindex(pd.MultiIndex.from_product(draws)).to_numpy(np.float64)
    change = (cells - cells[:, :1]).T.reshape(-1, *map(len, draws))
    effects = effects_of(change, over_seeds=over_seeds)
    times: NDArray[np.float64] = found.columns.to_numpy(np.float64)
    axes.plot(times, effects.mean, color=look.colour, ls=look.dash, lw=1.7, zorder=3)
    low, high = np.array([(one.low, one.high) for one in effects.intervals()]).T
    axes.fill_between(times, low, high, color=look.colour, alpha=0.12, lw=0, zorder=2)
