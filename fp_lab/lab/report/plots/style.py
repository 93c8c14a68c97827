"""Style of pictures: colours (safe for colour-blind readers), lines and markers of arms; fonts; saving."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fp_data.atomic import replacing
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.labels import compression_of
from fp_lab.recipe import COMPRESSIONS, Recipe

PALETTE = ("#332288", "#D9A441", "#44AA99", "#CC6677", "#882255", "#117733", "#3C9CC8", "#7A7A1E", "#AA4499")
"""Paul Tol's "muted" scheme, its palest two darkened for white paper: https://sronpersonalpages.nl/~pault/."""
_CONTROL = "#767676"
LineStyle = str | tuple[int, tuple[float, ...]]
"""Line style of matplotlib: a name, or an offset with lengths of dashes and gaps."""
_DASHES: dict[str, LineStyle] = {
    "vanilla": "-",
    "endpoint": "-.",
    "inverted": (0, (5, 1.6)),
    "planned": (0, (1, 1)),
    "none": ":",
}
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "h")
_SHIFTS: dict[str, int] = {"vanilla": 0, "endpoint": 3, "inverted": 4, "planned": 6, "none": 0}
"""Shift in the palette from a compression in vanilla order to the same in another order."""
TRUTH_COLOUR = "#111111"
INK, FAINT = "#222222", "#d5d5d5"
FLOOR: dict[str, Any] = {"lw": 1.0, "ls": (0, (3, 2))}
"""Line of the noise floor."""
DPI = 150
_LEGEND_ROW, _LEGEND_LETTER, _LEGEND_HANDLE = 0.19, 0.066, 0.75  # inches
LINE = 0.17
"""Height of a line of a title or label, inches."""


@dataclass(frozen=True)
class Look:
    """Look of an arm in plots.

    Attributes:
        colour: colour in hex.
        dash: line style of matplotlib, which shows the order.
        marker: marker of matplotlib, which separates arms of one colour.
    """

    colour: str
    dash: LineStyle
    marker: str = "o"


def looks(arms: Iterable[Arm]) -> dict[str, Look]:
    """Return arm name -> look: the same in every picture, and in other comparisons as far as colours suffice.

    Each compression in each order has a place in the palette. Where two arms have the same place, the plainer
    one gets it (no options, a named compression, tail dropped), or else the first by name, the other the next
    free one; when all are taken they are used again, with other markers.
    """
    uses = [0] * len(PALETTE)
    found = {}
    for arm in sorted(arms, key=_precedence):
        asked = _place(arm.recipe)
        places = [(asked + step) % len(PALETTE) for step in range(len(PALETTE))]
        place = min(places, key=lambda place: uses[place])
        marker = _MARKERS[(place + 4 * uses[place]) % len(_MARKERS)]
        uses[place] += not arm.control
        colour = _CONTROL if arm.control else PALETTE[place]
        found[arm.name] = Look(colour, _DASHES[arm.recipe.order], marker)
    return found


def _precedence(arm: Arm) -> tuple[bool, bool, bool, str]:
    named = compression_of(arm.recipe).replace(" ", "_") in COMPRESSIONS
    tail = arm.recipe.left.tail or arm.recipe.right.tail
    return "--" in arm.name, not named, tail != "td", arm.name


def _place(recipe: Recipe) -> int:
    """Place of a recipe in the palette: by its compression, else by the size of its context."""
    named = [name.replace("_", " ") for name in COMPRESSIONS]
    compression = compression_of(recipe).partition(" + ")[0]
    if compression in named:
        return named.index(compression) + _SHIFTS[recipe.order]
    runs = (*recipe.left.runs, *recipe.right.runs)
    frames = sum(level.frames for run in runs for level in run.levels)
    return frames.bit_length() + _SHIFTS[recipe.order]


@contextmanager
def paper() -> Iterator[None]:
    """Apply the typography of all pictures."""
    settings: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.edgecolor": "#888888",
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "xtick.color": "#555555",
        "ytick.color": "#555555",
        "text.color": INK,
        "text.parse_math": False,  # a caption with a dollar is no formula
        "grid.color": "#ececec",
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "svg.hashsalt": "fp_lab",  # the same picture is the same file
    }
    with mpl.rc_context(settings):
        yield


def headline(figure: Figure, title: str, hint: str) -> None:
    """Write the title of a picture, and below it what to look for."""
    figure.suptitle(f"{title}\n{hint}", x=0.008, ha="left", fontsize=10, linespacing=1.35)


def arm_line(look: Look, label: str) -> Line2D:
    """Make an arm's entry in a legend."""
    return Line2D([], [], color=look.colour, ls=look.dash, lw=2, marker=look.marker, ms=5, label=label)


def truth_line(**line: Any) -> Line2D:
    """Make the ground truth's entry in a legend."""
    return Line2D([], [], color=TRUTH_COLOUR, label="ground truth (true videos through the codec)", **line)


def wrapped(label: str, width: int) -> str:
    """Break a long label at underscores, blanks, dashes and dots."""
    lines = [""]
    breakable = label.replace("_", "_\0").replace(" ", " \0").replace("--", "\0--").replace(".", ".\0")
    for word in breakable.split("\0"):
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.strip() for line in lines)


def most_lines(labels: Iterable[str]) -> int:
    """Return the number of lines of the label that has most, at least 1."""
    return max((label.count("\n") + 1 for label in labels), default=1)


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Put a legend below all panels, in as many columns as its longest label allows; the figure grows.

    Labels that are wider than the figure go on in further lines.
    """
    fitting = int((figure.get_figwidth() - _LEGEND_HANDLE) / _LEGEND_LETTER)
    for handle in handles:
        if len(label := str(handle.get_label())) > fitting:
            handle.set_label(wrapped(label, fitting))
    labels = [str(handle.get_label()) for handle in handles]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = max(1, int(figure.get_figwidth() / (_LEGEND_LETTER * longest + _LEGEND_HANDLE)))
    rows = -(-len(handles) // columns)
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * rows * most_lines(labels))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=-(-len(handles) // rows),
        fontsize=8.5,
        handlelength=3.2,
        labelcolor=INK,
    )


def save(figure: Figure, path: Path, *, vector: bool = True) -> Path:
    """Write a PNG in one step, and an SVG beside it.

    Args:
        figure: figure drawn inside `paper`.
        path: path of the PNG.
        vector: whether to write an SVG, which makes no sense for photographs.
    """
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=DPI, format="png")
    if vector:
        figure.set_layout_engine("none")  # it is laid out, which takes as long as drawing it
        with replacing(path.with_suffix(".svg")) as unfinished:
            figure.savefig(unfinished, format="svg", metadata={"Date": None})
    return path


def png_size(path: Path) -> tuple[int, int]:
    """Read width and height of a PNG in pixels from its header."""
    with path.open("rb") as file:
        header = file.read(24)
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def hide(axes: Axes) -> None:
    """Hide an empty panel."""
    axes.set_axis_off()
