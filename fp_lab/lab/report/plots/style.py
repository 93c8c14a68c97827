"""How pictures look: one colour and line per arm, safe for colour-blind readers; typography; saving."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fp_data.atomic import replacing
from fp_lab.lab.results.arms import Arm

PALETTE = ("#332288", "#CC6677", "#117733", "#D9A441", "#3C9CC8", "#882255", "#44AA99", "#7A7A1E", "#AA4499")
"""Paul Tol's "muted" scheme, its palest two darkened for white paper: https://sronpersonalpages.nl/~pault/."""
_CONTROL = "#767676"
LineStyle = str | tuple[int, tuple[float, ...]]
"""As matplotlib takes it: a name, or an offset and lengths of dashes and gaps."""
_DASHES: dict[str, LineStyle] = {
    "vanilla": "-",
    "endpoint": "-.",
    "inverted": (0, (5, 1.6)),
    "planned": (0, (1, 1)),
    "none": ":",
}
TRUTH_COLOUR = "#111111"
INK, FAINT = "#222222", "#d5d5d5"
DPI = 150


@dataclass(frozen=True)
class Look:
    """How an arm is drawn.

    Attributes:
        colour: hex.
        dash: a matplotlib line style; it tells the order.
    """

    colour: str
    dash: LineStyle


def looks(arms: Sequence[Arm]) -> dict[str, Look]:
    """Arm name -> look, the same in every picture."""
    colours = itertools.cycle(PALETTE)
    return {
        arm.name: Look(_CONTROL if arm.control else next(colours), _DASHES[arm.recipe.order]) for arm in arms
    }


@contextmanager
def paper() -> Iterator[None]:
    """Typography of all pictures."""
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


def save(figure: Figure, path: Path, *, vector: bool = True) -> Path:
    """Write a PNG in one step, and an SVG beside it.

    Args:
        figure: drawn inside `paper`.
        path: of the PNG.
        vector: whether an SVG makes sense; of photographs it does not.
    """
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=DPI, format="png")
    if vector:
        figure.set_layout_engine("none")  # it is laid out, which takes as long as drawing it
        with replacing(path.with_suffix(".svg")) as unfinished:
            figure.savefig(unfinished, format="svg", metadata={"Date": None})
    return path


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG in pixels, from its header."""
    with path.open("rb") as file:
        header = file.read(24)
    return int.from_bytes(header[16:20]), int.from_bytes(header[20:24])


def hide(axes: Axes) -> None:
    """Take an empty panel away."""
    axes.set_axis_off()
