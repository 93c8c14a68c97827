"""Sheet for pictures of contexts, and the look of frames on it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from fp_data.atomic import replacing
from fp_lab.lab.report.plots.style import DPI, INK, paper
from fp_lab.recipe import Kernel

WIDTH, MARGIN = 8.0, 0.12
"""Width and margin of a sheet, in inches."""
COLOURS = 96
"""Number of colours of a PNG: flat colours and the greys of letters."""
QUIET = "#666666"
GENERATED: dict[str, Any] = {"facecolor": "#2f9e5b", "edgecolor": "#0f5c30"}
DROPPED: dict[str, Any] = {"facecolor": "#e0e0e0", "edgecolor": "none"}
UNKNOWN: dict[str, Any] = {"facecolor": "none", "edgecolor": "#cfcfcf"}
KEPT: dict[str, Any] = {"facecolor": "#d55e00", "edgecolor": "none"}
TAIL, DISCRETE = "////", "..."
LINE = 0.7
"""Width of the line around a rectangle, in points."""
_LEVELS = LinearSegmentedColormap.from_list(
    "levels", ("#1d2671", "#3a5fc8", "#8a86e0", "#d79bd0", "#f6c6b0", "#fdeec4")
)
_NOISE = LinearSegmentedColormap.from_list("noise", ("#1d2671", "#e8ecfb"))
_MONO = "DejaVu Sans Mono"


def level_colour(kernel: Kernel) -> str:
    """Colour of a level by its rate of compression, finest dark to coarsest light, without green."""
    rate = math.log2(kernel.volume / 4) / 12  # k1 has 4 latents per token, k16 16,384
    return to_hex(_LEVELS(min(max(rate, 0.0), 1.0) ** 0.7))


def noise_colour(level: float) -> str:
    """Colour of uncompressed history by noise level: clean is dark, pure noise is pale."""
    return to_hex(_NOISE(math.sqrt(level)))


def frame_height(kernel: Kernel) -> float:
    """Height of a frame's box relative to an uncompressed one: the larger a token's square, the lower."""
    return max(0.25, 1 - 0.17 * math.log2(math.sqrt(kernel.h * kernel.w) / 2))


class Sheet:
    """A figure `WIDTH` inches wide whose axes are placed in inches from its top left."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes at a position of the sheet."""
        below = self.height - top - height
        return self.figure.add_axes((left / WIDTH, below / self.height, width / WIDTH, height / self.height))

    def plain(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add axes without lines, in units of inches from their top left."""
        axes = self.axes(left, top, width, height)
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        return axes

    def title(self, name: str, line: str, right: str) -> None:
        """Write a name, its description, and a text at the right end."""
        axes = self.plain(MARGIN, 0.1, WIDTH - 2 * MARGIN, 0.5)
        size = min(12.0, 12.0 * 74 / len(name))
        axes.text(0, 0, name, fontsize=size, family=_MONO, weight="bold", va="top")
        axes.text(0, 0.29, line, fontsize=9, color=QUIET, va="top")
        axes.text(WIDTH - 2 * MARGIN, 0.29, right, fontsize=9, color=QUIET, va="top", ha="right")

    def write(self, path: Path) -> Path:
        """Write an SVG, or a PNG of few colours; the same sheet has the same bytes.

        Raises:
            ValueError: The file has another ending.
        """
        kind = path.suffix.lower().removeprefix(".")
        if kind not in ("png", "svg"):
            raise ValueError(f"picture: got {path}, expected a name that ends in .png or .svg")
        with replacing(path) as unfinished:
            if kind == "svg":
                self.figure.savefig(unfinished, format="svg", metadata={"Date": None})
            else:
                drawn = BytesIO()
                self.figure.savefig(drawn, dpi=DPI, format="png")
                picture = Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
                picture.save(unfinished, format="png", optimize=True)
        return path


@contextmanager
def sheet(height: float) -> Iterator[Sheet]:
    """Yield a sheet in the style of all pictures."""
    with paper(), mpl.rc_context({"hatch.linewidth": 0.6, "svg.hashsalt": "fp_lab"}):
        yield Sheet(height)


def rectangle(
    axes: Axes, left: float, floor: float, width: float, height: float, *, line: float = LINE, **look: Any
) -> None:
    """Draw a rectangle that stands on `floor`; axes count downwards."""
    axes.add_patch(Rectangle((left, floor), width, -height, linewidth=line, clip_on=False, **look))


def context_rectangle(
    axes: Axes,
    left: float,
    floor: float,
    width: float,
    height: float,
    colour: str,
    hatch: str = "",
    *,
    line: float = LINE,
) -> None:
    """Draw a context rectangle; a hatch is white on dark colours."""
    if hatch:
        ink = "#ffffff" if np.dot(to_rgb(colour), (0.3, 0.59, 0.11)) < 0.4 else INK
        rectangle(axes, left, floor, width, height, line=0, facecolor=colour, edgecolor=ink, hatch=hatch)
        colour = "none"
    rectangle(axes, left, floor, width, height, line=line, facecolor=colour, edgecolor=INK)
