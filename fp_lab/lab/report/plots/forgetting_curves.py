"""What arms remember against the gap: the one plot that shows what each compression keeps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fp_lab.lab.compare.forgetting import ArmForgetting, Remembered
from fp_lab.lab.report.plots.curves import panel_grid
from fp_lab.lab.report.plots.style import TRUTH_COLOUR, Look, paper, save
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_metrics.returns import GapBin, Kind

_FIGURES: dict[Kind, tuple[Literal["agreement", "psnr"], str, str]] = {
    "object": ("agreement", "object came back", "agreement with its last look"),
    "place": ("agreement", "place came back", "agreement with its last look"),
    "recall": ("psnr", "recalled", "PSNR against the truth, dB"),
    "told": ("agreement", "told", "share of objects"),
}
_TRUTH = Look(TRUTH_COLOUR, "-")


def draw_forgetting(
    gathered: Gathered, found: Sequence[ArmForgetting], arms_looks: Mapping[str, Look], path: Path
) -> Path:
    """One panel for each kind of what comes back: a line per arm over bins of gaps, with 95 % bands.

    Args:
        gathered: the arms, with their context tokens.
        found: what they remember, and the ground truth, of which something has come back.
        arms_looks: by arm; the ground truth is black.
        path: of the PNG.
    """
    bins = {kinds: [one for arm in found for one in _known(arm, kinds)] for kinds in found[0].kinds}
    gaps = sorted({(one.least, one.most) for known in bins.values() for one in known}, key=lambda gap: gap[0])
    panels = [kinds for kinds, known in bins.items() if known]
    with paper():
        figure, grid = panel_grid(len(panels), height=2.5, columns=3)
        for axes, kinds in zip(grid, panels, strict=False):
            for arm in found:
                _draw(axes, arm, kinds, gaps, arms_looks.get(arm.name, _TRUTH))
            _, title, unit = _FIGURES[kinds[1]]
            axes.set_title(f"{title}, {kinds[0]} history")
            axes.set_ylabel(unit)
            axes.set_xlabel("frames out of sight")
            axes.set_xticks(range(len(gaps)), [f"{least}-{most or ''}" for least, most in gaps], fontsize=8)
            axes.grid(axis="y")
        named = [(arms_looks[arm.name], _described(arm)) for arm in gathered.arms]
        handles = [
            Line2D([], [], color=look.colour, ls=look.dash, lw=2, label=label)
            for look, label in [*named, (_TRUTH, "ground truth through the codec")]
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8.5, handlelength=3.2)
        return save(figure, path)


def _draw(
    axes: Axes, arm: ArmForgetting, kinds: Remembered, gaps: Sequence[tuple[int, int | None]], look: Look
) -> None:
    known = _known(arm, kinds)
    at = [gaps.index((one.least, one.most)) for one in known]
    intervals = [getattr(one, _FIGURES[kinds[1]][0]) for one in known]
    means = [interval.mean for interval in intervals]
    axes.plot(at, means, color=look.colour, ls=look.dash, lw=1.0 if look is _TRUTH else 1.7, zorder=3)
    axes.plot(at, means, "o", color=look.colour, ms=3.5, zorder=3)
    low, high = np.array([(i.low, i.high) for i in intervals]).reshape(-1, 2).T
    axes.fill_between(at, low, high, color=look.colour, alpha=0.12, lw=0, zorder=2)


def _known(arm: ArmForgetting, kinds: Remembered) -> list[GapBin]:
    return [one for one in arm.kinds[kinds].bins if one.videos]


def _described(arm: Arm) -> str:
    tokens = "context without bound" if arm.context_tokens is None else f"{arm.context_tokens} context tokens"
    return f"{arm.label}:  {tokens}"
