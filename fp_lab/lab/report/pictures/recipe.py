"""Pictures of recipes: the sections of the plan over video time, and their cost."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from fp_lab.explain.calls import LONGEST_HISTORY, Box, Structure
from fp_lab.lab.report.pictures.sheet import (
    DISCRETE,
    DROPPED,
    GENERATED,
    KEPT,
    LINE,
    MARGIN,
    QUIET,
    TAIL,
    UNKNOWN,
    context_rectangle,
    frame_height,
    level_colour,
    rectangle,
    sheet,
)
from fp_lab.lab.report.plots.style import INK

_ROW, _TOP, _AXIS = 0.36, 0.86, 0.52  # inches: a call, title and given frame, the time axis
_LEFT, _VIDEO, _GAP, _BARS = 0.75, 5.2, 0.22, 1.15  # inches: the calls' numbers, frames, space, token bars
_OUTLINED = 80  # frames with full outlines; those of longer videos have thinner ones
_HIGH = 0.74  # of a row: the height of a frame
_LINE, _SWATCH = 0.19, 0.3  # inches: of the legend
_COLUMNS = {"kernel": 0.42, "per token": 1.1, "frames": 2.6, "tokens": 3.12}  # inches
_MEANINGS = 3.42  # inches: where the legend's second half begins
_FILLS = {"forward": ", middle filled forward", "bisect": ", middle bisected", None: ""}
_PLAIN = {"generated": GENERATED, "dropped": DROPPED, "unknown": UNKNOWN}


def draw_structure(shown: Structure, path: Path) -> Path:
    """Draw the sections of a recipe, one per row, a legend, and the length of the context.

    Args:
        shown: structure by `fp_lab.explain.calls.structure`.
        path: path of a ``.png`` or ``.svg``.

    Raises:
        ValueError: The file is of another kind.
    """
    meanings = list(_meanings(shown))
    lines = max(len(shown.explanation.kernels), len(meanings)) + 1
    calls = _ROW * len(shown.rows)
    below = _TOP + calls + _AXIS
    height = below + max(1.25, 0.15 + _LINE * lines)
    with sheet(height) as paper:
        paper.title(*_title(shown))
        _calls(paper.axes(_LEFT, _TOP, _VIDEO, calls), shown)
        _token_bars(paper.axes(_LEFT + _VIDEO + _GAP, _TOP, _BARS, calls), shown)
        _legend(paper.plain(MARGIN, below, 5.5, height - below), shown, meanings)
        _growth(paper.axes(6.17, below + 0.2, 1.65, 0.75), shown)
        return paper.write(path)


def _title(shown: Structure) -> tuple[str, str, str]:
    explained = shown.explanation
    order = "no history" if explained.order == "none" else f"{explained.order} order"
    frames = "frame" if explained.section == 1 else "frames"
    line = (
        f"{order}{_FILLS[explained.fill]}: sections of {explained.section} {frames}, "
        f"{shown.calls} sections for a video of {explained.frames}"
    )
    return explained.name, line, f"{explained.height} x {explained.width} latents"


def _calls(axes: Axes, shown: Structure) -> None:
    """Draw one row per call, with dots between rows that do not follow each other."""
    line = LINE * min(1.0, _OUTLINED / shown.explanation.frames)
    left = -0.6 - 0.012 * shown.explanation.frames
    for place, row in enumerate(shown.rows):
        for box in row.boxes:
            _box(axes, box, place, line, discrete=shown.recipe.codebook is not None)
        middle = place if row.prompt is None else place - 0.17
        axes.text(left, middle, f"section {row.call}", ha="right", va="center", fontsize=8.5)
        if row.prompt is not None:
            axes.text(
                left, place + 0.2, f"prompt {row.prompt}", ha="right", va="center", fontsize=7, color=QUIET
            )
    for place, (above, below) in enumerate(pairwise(shown.rows)):
        if below.call != above.call + 1:
            axes.text(left, place + 0.5, "···", ha="right", va="center", fontsize=9, color=QUIET)
    axes.set_xlim(-0.6, shown.explanation.frames - 0.4)
    axes.set_ylim(len(shown.rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=8, length=3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("latent frame, in video time", fontsize=8.5, labelpad=2)
    arrow = {"arrowstyle": "-|>", "color": QUIET, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    axes.annotate(
        "given", (0, -0.42), (0, -0.72), fontsize=8, color=QUIET, ha="center", va="bottom", arrowprops=arrow
    )


def _box(axes: Axes, box: Box, place: float, line: float, *, discrete: bool) -> None:
    """Draw the frames of a box with their feet on the row's floor; a token's frames are joined."""
    floor = place + _HIGH / 2
    if box.kernel is None:
        apart = 0 if box.kind == "generated" else 0.08
        left = box.frames[0] - 0.5 + apart
        rectangle(axes, left, floor, 1 - 2 * apart, _HIGH, line=line, **_PLAIN[box.kind])
        return
    high = _HIGH * frame_height(box.kernel)
    hatch = (TAIL if box.kind == "tail" else "") + (DISCRETE if discrete else "")
    axes.plot([box.frames[0], box.frames[-1]], [floor - 0.02] * 2, color=INK, lw=2 * line, zorder=0.5)
    for first, stop in stretches(box.frames):
        left, wide = first - 0.5, stop - first
        shape = (left + 0.03, floor, wide - 0.06, high)
        context_rectangle(axes, *shape, level_colour(box.kernel), hatch, line=line)
        for inside in range(first + 1, stop):
            y = [floor - 0.03, floor - high + 0.03]
            axes.plot([inside - 0.5] * 2, y, color="white", lw=line, alpha=0.7)
        if box.placement not in (None, "adjacent"):
            rectangle(axes, left, floor + 0.13, wide, 0.08, **KEPT)


def stretches(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Contiguous stretches of ascending frames, as their first frame and the frame after the last."""
    known = set(frames)
    firsts = [frame for frame in frames if frame - 1 not in known]
    stops = [frame + 1 for frame in frames if frame + 1 not in known]
    return list(zip(firsts, stops, strict=True))


def _token_bars(axes: Axes, shown: Structure) -> None:
    """Draw the context of each row as a bar of its tokens."""
    longest = max([row.tokens for row in shown.rows] + [1])
    discrete = DISCRETE if shown.recipe.codebook is not None else ""
    for place, row in enumerate(shown.rows):
        left = 0
        for share in row.shares:
            hatch = (TAIL if share.kind == "tail" else "") + discrete
            context_rectangle(axes, left, place + 0.25, share.tokens, 0.5, level_colour(share.kernel), hatch)
            left += share.tokens
        axes.text(left + 0.05 * longest, place, f"{row.tokens:,}", va="center", fontsize=9)
    axes.set_xlim(0, longest)
    axes.set_ylim(len(shown.rows) - 0.5, -0.5)
    axes.set_axis_off()
    axes.text(0, -0.62, "context tokens", fontsize=8.5, color=QUIET, va="bottom")


def _meanings(shown: Structure) -> Iterator[tuple[str, str]]:
    """Entries of the legend beside the kernels: kind and meaning."""
    boxes = [box for row in shown.rows for box in row.boxes]
    kinds = {box.kind for box in boxes}
    explained = shown.explanation
    yield "generated", f"generated: {explained.section_tokens:,} tokens"
    if any(box.placement not in (None, "adjacent") for box in boxes):
        yield "kept", "kept at any distance (x)"
    if "tail" in kinds:
        yield "tail", f"tail: {_tails(shown)}"
    if explained.codebook:
        yield "discrete", f"pixels from {explained.codebook} centroids"
    if "dropped" in kinds:
        yield "dropped", "known, but dropped"
    if "unknown" in kinds:
        yield "unknown", "not known yet"


def _tails(shown: Structure) -> str:
    said = {"ta": "frames pooled by 32", "tc": "average of its frames"}
    tails = {shown.recipe.left.tail, shown.recipe.right.tail}
    return " / ".join(meaning for tail, meaning in said.items() if tail in tails)


def _legend(axes: Axes, shown: Structure, meanings: Sequence[tuple[str, str]]) -> None:
    """Draw a table of the kernels, finest first, beside the meanings of the other looks."""
    kernels = sorted({level.kernel for level in shown.recipe.levels}, key=lambda k: (k.volume, k))
    rows = {row.kernel: row for row in shown.explanation.kernels}
    if kernels:
        _legend_line(axes, 0.08, tuple(_COLUMNS), colour=QUIET)
    for line, kernel in enumerate(kernels, start=1):
        row, y = rows[str(kernel)], 0.08 + line * _LINE
        high = 0.14 * frame_height(kernel)
        context_rectangle(axes, 0, y + 0.07, _SWATCH, high, level_colour(kernel))
        size = f"{kernel.t} x {kernel.h} x {kernel.w}"
        _legend_line(axes, y, (row.kernel, size, f"{row.frames:,}", f"{row.tokens:,}"), colour=INK)
    for line, (kind, meaning) in enumerate(meanings, start=1):
        y = 0.08 + line * _LINE
        if kind == "kept":
            rectangle(axes, _MEANINGS, y + 0.02, _SWATCH, 0.035, **KEPT)
        elif kind in _PLAIN:
            rectangle(axes, _MEANINGS, y + 0.07, _SWATCH, 0.14, **_PLAIN[kind])
        else:
            hatch = TAIL if kind == "tail" else DISCRETE
            context_rectangle(axes, _MEANINGS, y + 0.07, _SWATCH, 0.14, "#ffffff", hatch)
        axes.text(_MEANINGS + _SWATCH + 0.09, y, meaning, fontsize=8.5, va="center")


def _legend_line(axes: Axes, y: float, texts: Sequence[str], colour: str) -> None:
    for text, (column, x) in zip(texts, _COLUMNS.items(), strict=True):
        side = "right" if column in ("frames", "tokens") else "left"
        axes.text(x, y, text, fontsize=8.5, color=colour, va="center", ha=side)


def _growth(axes: Axes, shown: Structure) -> None:
    """Draw context tokens against history frames, beside those of an uncompressed history."""
    histories, tokens = zip(*shown.lengths, strict=True)
    explained = shown.explanation
    frame = explained.section_tokens / explained.section
    top = max(max(tokens) * 1.5, frame * 3)
    axes.plot(histories, [frame * n for n in histories], color="#888888", lw=1, ls=(0, (3, 2)))
    axes.text(top / frame * 1.25, top, "all uncompressed", fontsize=7.5, color=QUIET, va="top")
    axes.plot(histories, tokens, color=INK, lw=1.8, clip_on=False)
    added = (tokens[-1] - tokens[-2]) / (histories[-1] - histories[-2])
    limit = explained.context_limit
    grows = f"+{added:g} a frame, " if added else ""
    end = f"{grows}no limit" if limit is None else f"at most {limit:,}"
    axes.text(0.97, 0.05, end, transform=axes.transAxes, fontsize=7.5, ha="right")
    axes.set_xscale("log")
    axes.set_xlim(1, LONGEST_HISTORY)
    axes.set_ylim(0, top)
    axes.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(labelsize=7.5, length=3)
    title = "context by history frames"
    axes.set_title(title, fontsize=8.5, color=QUIET, weight="normal", x=-0.18)
