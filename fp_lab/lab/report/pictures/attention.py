"""Pictures of the alternative architectures: frames of a call, their noise, and the attention mask."""

from pathlib import Path

from matplotlib.axes import Axes

from fp_lab.explain.masks import Reading
from fp_lab.lab.report.pictures.sheet import (
    DROPPED,
    GENERATED,
    MARGIN,
    QUIET,
    UNKNOWN,
    WIDTH,
    context_rectangle,
    frame_height,
    noise_colour,
    rectangle,
    sheet,
)

_CELL, _MASK = 0.5, 1.3  # inches: a cell of the mask, and the whole mask, at most
_BESIDE = 0.75  # inches: what is written beside a mask
_TOP, _ABOVE = 0.74, 0.36  # inches: the title, and what is written above a mask
_HIGH, _STRIP, _WIDE = 0.24, 0.52, 4.3  # inches: a frame, all that belongs to a strip of frames, its width
_READ = {
    "full": "every token attends to every token",
    "isolated": "the history does not attend to the section",
    "block_causal": "no block attends to a later one",
}


def draw_reading(shown: Reading, path: Path) -> Path:
    """Draw the video as seen by one call, and its mask: rows are queries, columns keys.

    Args:
        shown: reading by `fp_lab.explain.masks.reading`.
        path: path of a ``.png`` or ``.svg``.

    Raises:
        ValueError: The file is of another kind.
    """
    passes = len(shown.noises)
    side = min(_CELL * len(shown.blocks), _MASK)
    height = _TOP + max(_STRIP * passes + 0.8, _ABOVE + side + 0.14)
    with sheet(height) as paper:
        paper.title(shown.name, f"{shown.recipe}: {_READ[shown.attention]}", "")
        for place, noise in enumerate(shown.noises):
            _frames(paper.plain(MARGIN, _TOP + _STRIP * place, _WIDE, _STRIP), shown, noise)
            left = WIDTH - MARGIN - (passes - place) * side - (passes - place - 1) * _BESIDE
            _mask(paper.axes(left, _TOP + _ABOVE, side, side), shown, noise)
        _legend(paper.plain(MARGIN, _TOP + _STRIP * passes + 0.1, 4.7, 0.6))
        return paper.write(path)


def _said(shown: Reading, noise: float) -> str:
    if len(shown.blocks) == 1:
        return "no history"
    if noise == 1:
        return "history is pure noise"
    return f"history at noise level {noise:g} t" if noise else "history is clean"


def _frames(axes: Axes, shown: Reading, noise: float) -> None:
    """Draw all frames of the video, below the caption of the history."""
    wide = _WIDE / shown.length
    kernels = {frame: block.kernel for block in shown.blocks[:-1] for frame in block.frames}
    section = shown.blocks[-1].frames
    axes.text(0, 0.09, _said(shown, noise), fontsize=8.5, va="center")
    for frame in range(shown.length):
        left, floor = frame * wide, 0.18 + _HIGH
        if frame in section:
            rectangle(axes, left, floor, wide, _HIGH, **GENERATED)
        elif frame in kernels:
            high = _HIGH * frame_height(kernels[frame])
            context_rectangle(axes, left, floor, wide, high, noise_colour(noise))
        else:
            look = DROPPED if frame < section[0] else UNKNOWN
            rectangle(axes, left + 0.1 * wide, floor, 0.8 * wide, _HIGH, **look)


def _mask(axes: Axes, shown: Reading, noise: float) -> None:
    """Draw blocks that read each other; keys have their noise's colour, those of the section are green."""
    count = len(shown.blocks)
    for query, row in enumerate(shown.reads):
        for key, reads in enumerate(row):
            if not reads:
                rectangle(axes, key, query + 1, 1, 1, **UNKNOWN)
            elif key == count - 1:
                rectangle(axes, key, query + 1, 1, 1, **GENERATED)
            else:
                context_rectangle(axes, key, query + 1, 1, 1, noise_colour(noise))
    middles = [place + 0.5 for place in range(count)]
    labels = [block.label for block in shown.blocks]
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.set_xticks(middles, labels)
    axes.set_yticks(middles, labels)
    axes.tick_params(labelsize=7.5, length=0, top=False, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    blocks = f": blocks of {shown.recipe.section}" if shown.attention == "block_causal" else ""
    axes.set_ylabel(f"queries{blocks}", fontsize=8, color=QUIET, labelpad=2)
    axes.set_xlabel(f"keys{blocks}", fontsize=8, color=QUIET, labelpad=3)
    axes.xaxis.set_label_position("top")


def _legend(axes: Axes) -> None:
    axes.text(0, 0.13, "noise of history, as a factor of t", fontsize=8.5, va="center")
    for place, level in enumerate((0.0, 0.1, 0.5, 1.0)):
        left = 2.3 + 0.6 * place
        context_rectangle(axes, left, 0.2, 0.22, 0.14, noise_colour(level))
        axes.text(left + 0.28, 0.13, f"{level:g}", fontsize=8.5, va="center")
    looks = (
        ("generated, at noise level t", GENERATED, 0.0),
        ("known, but dropped", DROPPED, 2.0),
        ("not known yet", UNKNOWN, 3.55),
    )
    for text, look, left in looks:
        rectangle(axes, left, 0.48, 0.22, 0.14, **look)
        axes.text(left + 0.28, 0.41, text, fontsize=8.5, va="center")
