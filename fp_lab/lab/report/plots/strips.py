"""Frame strips of videos over time, from true and from generated history."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fp_lab.lab.files.video_batch import GIVEN, Videos
from fp_lab.lab.report.plots.style import DPI, INK, paper, save, wrapped
from fp_lab.lab.tables.glossary import HISTORIES

SHOWN = 12
"""Number of frames in a strip."""
_TILE, _LARGEST = 128, 192  # pixels of a frame's height: aimed at, and at most
_GAP, _BAR = 9, 26  # pixels: between frames; the bar that tells the section of a frame
_HEAD, _HINT = 84, 44  # pixels: a block's title and frame numbers; the hint above all
_LABEL, _SMALL = 11, 9  # points
_WIDE = 17  # characters of a label's line
_SWATCH = 10  # pixels: an arm's colour
_LOOK_FOR = (
    "A row should look like the ground truth, last frames included. "
    "Bar: the section that a frame belongs to, in the order of generation."
)
_GREY = "#666666"


@dataclass(frozen=True, eq=False)
class Strip:
    """One row of a picture.

    Attributes:
        label: label at the left.
        frames: frames of a whole video, uint8 ``t h w c``.
        order: index of the section that generated each frame; None: no bar of sections.
        colour: colour of the arm, beside the label.
    """

    label: str
    frames: NDArray[np.uint8]
    order: tuple[int, ...] | None = None
    colour: str = INK


def shown_frames(length: int) -> tuple[int, ...]:
    """Pick about 12 frame indices, evenly spaced, with the first and the last."""
    return tuple(round(t) for t in np.linspace(0, length - 1, min(SHOWN, length)).tolist())


def arm_strips(
    own: Videos, true: Videos, truth: Videos | None, videos: Sequence[int], colour: str, path: Path
) -> Path:
    """Draw videos of one arm: the ground truth, then from true and from generated history."""
    blocks = {}
    for index in videos:
        strips = [Strip("ground truth", truth.frames[index].numpy())] if truth is not None else []
        strips.append(Strip(HISTORIES["true"], true.frames[index].numpy(), None, colour))
        strips.append(Strip(HISTORIES["own"], own.frames[index].numpy(), own.order, colour))
        blocks[_caption(own, index)] = strips
    return draw(blocks, path)


def overview_strips(
    owns: Mapping[str, Videos], colours: Mapping[str, str], truth: Videos | None, video: int, path: Path
) -> Path:
    """Draw one video of all arms, from generated history, below the true one; keys of `owns` are labels."""
    strips = [Strip("ground truth", truth.frames[video].numpy())] if truth is not None else []
    strips += [Strip(label, v.frames[video].numpy(), v.order, colours[label]) for label, v in owns.items()]
    return draw({_caption(next(iter(owns.values())), video): strips}, path)


def draw(blocks: Mapping[str, Sequence[Strip]], path: Path) -> Path:
    """Draw blocks of strips under their titles, one column per shown frame."""
    first = next(iter(blocks.values()))[0].frames
    times, tile = shown_frames(len(first)), _Tile.fitting(first.shape[1], first.shape[2])
    labels = [wrapped(strip.label, _WIDE) for strips in blocks.values() for strip in strips]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    left = 40 + round(longest * _LABEL * 0.62 * DPI / 72)
    width = left + len(times) * (tile.width + _GAP) + _GAP
    height = (
        sum(_HEAD + sum(tile.height + _GAP + _bar(strip) for strip in strips) for strips in blocks.values())
        + _GAP
        + _HINT
    )
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    with paper():
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        _text(figure, canvas, left, 24, _LOOK_FOR, size=_SMALL + 1, color=_GREY, ha="left")
        top = _HINT
        for title, strips in blocks.items():
            _text(figure, canvas, left, top + 24, title, size=_LABEL + 1, weight="bold", ha="left")
            numbers = top + _HEAD - 14
            _text(figure, canvas, left - 24, numbers, "frame", size=_SMALL, color=_GREY, ha="right")
            for column, time in enumerate(times):
                centre = left + column * (tile.width + _GAP) + tile.width / 2
                _text(figure, canvas, centre, numbers, f"{time}", size=_SMALL, color=_GREY)
            top += _HEAD
            for strip in strips:
                _strip(figure, canvas, strip, times, tile, left, top)
                top += tile.height + _GAP + _bar(strip)
        figure.figimage(canvas, zorder=-1)
        return save(figure, path, vector=False)


@dataclass(frozen=True)
class _Tile:
    """A frame on the canvas: each `step`-th pixel, `scale` times as large."""

    rows: int
    columns: int
    step: int
    scale: int

    @classmethod
    def fitting(cls, height: int, width: int) -> "_Tile":
        step = max(1, -(-height // _LARGEST))
        rows, columns = -(-height // step), -(-width // step)
        return cls(rows, columns, step, max(1, round(_TILE / rows)))

    @property
    def height(self) -> int:
        return self.rows * self.scale

    @property
    def width(self) -> int:
        return self.columns * self.scale

    def draw(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        small = frame[:: self.step, :: self.step]
        return small.repeat(self.scale, 0).repeat(self.scale, 1)


def _bar(strip: Strip) -> int:
    return 0 if strip.order is None else _BAR


def _strip(
    figure: Figure,
    canvas: NDArray[np.uint8],
    strip: Strip,
    times: Sequence[int],
    tile: _Tile,
    left: int,
    top: int,
) -> None:
    middle = top + tile.height / 2
    swatch = np.round(np.array(to_rgb(strip.colour)) * 255)
    canvas[top : top + tile.height, left - _SWATCH - 6 : left - 6] = swatch
    _text(figure, canvas, left - 24, middle, wrapped(strip.label, _WIDE), size=_LABEL, ha="right")
    sections = max(strip.order) + 1 if strip.order is not None else 0
    bar = top + tile.height + 3
    if strip.order is not None:
        _text(
            figure, canvas, left - 24, bar + (_BAR - 5) / 2, "section", size=_SMALL, color=_GREY, ha="right"
        )
    for column, time in enumerate(times):
        x = left + column * (tile.width + _GAP)
        canvas[top : top + tile.height, x : x + tile.width] = tile.draw(strip.frames[time])
        if strip.order is None:
            continue
        section = strip.order[time]
        late = section / max(1, sections - 1)
        shade = to_rgb("#111111") if section == GIVEN else colormaps["viridis"](0.95 - 0.85 * late)[:3]
        canvas[bar : bar + _BAR - 5, x : x + tile.width] = np.round(np.array(shade) * 255)
        ink = "white" if section == GIVEN or late > 0.5 else "#111111"
        label = "given" if section == GIVEN else f"{section + 1}"
        _text(figure, canvas, x + tile.width / 2, bar + (_BAR - 5) / 2, label, size=_SMALL, color=ink)


def _text(
    figure: Figure,
    canvas: NDArray[np.uint8],
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    color: str = INK,
    ha: Literal["left", "center", "right"] = "center",
    weight: str = "normal",
) -> None:
    """Write at a pixel of the canvas, counted from its top left."""
    height, width = canvas.shape[:2]
    figure.text(
        x / width, 1 - y / height, text,
        fontsize=size, color=color, ha=ha, va="center_baseline", fontweight=weight,
    )  # fmt: skip


def _caption(videos: Videos, index: int) -> str:
    caption = f"Caption: “{videos.captions[index]}”" if videos.captions[index] else "No caption"
    return f"{caption}  (video seed {videos.seeds[index]})"
