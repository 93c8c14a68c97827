"""What an ablation name means: levels, tokens, context length, order, and which frame lands where."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Literal

from fp_lab.baselines import BASELINES
from fp_lab.checks.ranges import MOST_PIXELS
from fp_lab.packing.assignment import assign_by_time, tail_by_time
from fp_lab.packing.kernel_fit import KernelFit, kernel_fit, misfits
from fp_lab.packing.token_counts import (
    PlacedSection,
    context_length,
    context_limit,
    context_tokens,
    kernel_tokens,
    section_tokens,
    with_history,
)
from fp_lab.recipe import COMPRESSIONS, SHORT_KERNELS, Kernel, Order, Recipe, RecipeError, Side, parse
from fp_lab.recipe.compressions import from_parts
from fp_lab.recipe.orders import ORDERS, Fill, implied_fill, plan

MOST_FRAMES = 4096
"""Of the example video, whose context is counted behind every frame: time grows with their square."""
SPATIAL = 8
"""Pixels per latent row and column of the video codecs of HunyuanVideo and Wan."""
Placement = Literal["adjacent", "nearest known", "planned endpoint", "first frames", "last frames"]
SideName = Literal["left", "right"]
CellKind = Literal["generated", "level", "anchored", "tail", "dropped", "gap"]


@dataclass(frozen=True)
class LevelRow:
    """One level: its place, its tokens when full, and whether its kernel fits the frame."""

    level: str
    side: SideName
    placement: Placement
    frames: int
    kernel: tuple[int, int, int]
    tokens: int
    fit: KernelFit


@dataclass(frozen=True)
class KernelRow:
    """All levels of equal kernel together (the released layouts' 1x is start + nearest)."""

    kernel: str
    label: str
    symbol: str
    frames: int
    tokens: int


@dataclass(frozen=True)
class Strip:
    """A stretch of frames, in video time, that all fare alike in one section."""

    first: int
    last: int
    kind: CellKind
    symbol: str
    kernel: str | None


@dataclass(frozen=True)
class Call:
    """One call of the plan: inclusive target ranges, known frames and context tokens before it."""

    targets: tuple[tuple[int, int], ...]
    known: int
    context_tokens: int


@dataclass(frozen=True)
class Explanation:
    """Everything ``fp-lab explain`` shows.

    Attributes:
        name: Canonical name.
        order: The generation order the shape implies.
        fill: How an endpoint order fills its gap; ``None`` for the other orders.
        section: Frames per call.
        codebook: Centroids of a discretised history, or ``None``.
        height: Latent rows.
        width: Latent columns.
        frames: Length of the example video in latent frames.
        levels: One row per level, left to right in video time.
        kernels: Tokens grouped by kernel, coarsest first.
        section_tokens: Tokens of the noisy section.
        context_lengths: Context tokens for 1, 2, .. ``frames`` history frames.
        context_limit: What no history exceeds, or ``None`` (grows without bound).
        middle: Which frame lands where in the call in the middle of the plan, left to right.
        middle_call: Number of that call, from 1, or 0 where there is no plan.
        plan: The calls in generation order; empty where every frame is given.
        note: Why there is no plan, or ``None``.
        cautions: Levels and tails that leave nothing of a frame, see `misfits`.
    """

    name: str
    order: Order
    fill: Fill | None
    section: int
    codebook: int | None
    height: int
    width: int
    frames: int
    levels: tuple[LevelRow, ...]
    kernels: tuple[KernelRow, ...]
    section_tokens: int
    context_lengths: tuple[int, ...]
    context_limit: int | None
    middle: tuple[Strip, ...]
    middle_call: int
    plan: tuple[Call, ...]
    note: str | None
    cautions: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values under the attributes' names, ready for ``json.dumps``."""
        return asdict(self)


def _meant(name: str) -> str:
    """What a word that is no recipe stands for; empty if nobody knows."""
    if name in COMPRESSIONS:
        made = from_parts(name, "vanilla")
        return f"a compression, one part of a recipe; with the vanilla order it is {made}"
    if name in ORDERS and name != "planned":
        made = from_parts("released", name)
        return f"an order, one part of a recipe; of the released compression it is {made}"
    close = get_close_matches(name, [*COMPRESSIONS, *ORDERS, *BASELINES], n=1, cutoff=0.75)
    return f"no recipe; did you mean {close[0]}?" if close else ""


def explain(name: str, height: int = 60, width: int = 104, frames: int | None = None) -> Explanation:
    """Work out what a name means.

    Args:
        name: An ablation name, not necessarily canonical.
        height: Latent rows, at least 1.
        width: Latent columns, at least 1.
        frames: Length of the example video in latent frames; by default long enough for every level to fill.

    Raises:
        RecipeError: The name cannot be read.
        ValueError: A size below 1, more than `MOST_FRAMES`, too many levels, or the name of a part.
    """
    try:
        recipe = parse(name)
    except RecipeError as error:
        if meant := _meant(name):
            raise ValueError(f"recipe {name!r}: {meant}") from error
        raise
    if frames is None:
        needed = sum(level.frames for level in recipe.levels)
        frames = 1 + recipe.section * max(4, -(-needed // recipe.section) + 2)
    for what, value in (("height", height), ("width", width), ("frames", frames)):
        if value < 1:
            raise ValueError(f"{what}: got {value}, expected at least 1")
    if frames > MOST_FRAMES:
        raise ValueError(
            f"frames: got {frames} of the example video, expected {MOST_FRAMES} at most; by default it is as "
            "long as the recipe's levels together, --frames makes it shorter"
        )
    fill = implied_fill(recipe)
    sections = plan(recipe, frames, fill=fill)
    note = None if sections else "no plan: every frame of the video is given"
    middle = len(sections) // 2
    placed = PlacedSection(sections[middle], frames) if sections else with_history(recipe, frames)
    kernels = _kernel_rows(recipe, height, width)
    return Explanation(
        name=str(recipe),
        order=recipe.order,
        fill=fill if recipe.order == "endpoint" else None,
        section=recipe.section,
        codebook=recipe.codebook,
        height=height,
        width=width,
        frames=frames,
        levels=_level_rows(recipe, height, width),
        kernels=kernels,
        section_tokens=section_tokens(recipe, height, width),
        context_lengths=tuple(context_length(recipe, n, height, width) for n in range(1, frames + 1)),
        context_limit=context_limit(recipe, height, width),
        middle=_strips(recipe, placed, {row.kernel: row.symbol for row in kernels}),
        middle_call=middle + 1 if sections else 0,
        plan=tuple(
            Call(
                _ranges(section.targets),
                len(section.known),
                context_tokens(recipe, section, frames, height, width).total,
            )
            for section in sections
        ),
        note=note,
        cautions=misfits(recipe, height, width),
    )


def latent_size(what: Literal["latents", "pixels"], text: str) -> tuple[int, int]:
    """Latent rows and columns of a frame.

    Args:
        what: What the text counts; pixels are `SPATIAL` to a latent.
        text: Height x width, such as ``60x104`` latents or ``480x832`` pixels.

    Raises:
        ValueError: Anything else, or more than `MOST_PIXELS` a side.
    """
    unit, such = (SPATIAL, "480x832") if what == "pixels" else (1, "60x104")
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(f"{what}: got {text!r}, expected HEIGHTxWIDTH such as {such}")
    height, width = int(sides[0]), int(sides[1])
    if not height or not width or height % unit or width % unit:
        raise ValueError(f"{what}: got {text!r}, expected a height and width above 0 and divisible by {unit}")
    if max(height, width) > MOST_PIXELS * unit // SPATIAL:
        raise ValueError(f"{what}: got {text!r}, expected at most {MOST_PIXELS * unit // SPATIAL} a side")
    return height // unit, width // unit


def placements(recipe: Recipe) -> tuple[Placement, ...]:
    """Where the run of every level stands, in the order of ``recipe.levels``."""
    return tuple(
        _placement(side, index, left=left)
        for side, left in ((recipe.left, True), (recipe.right, False))
        for index, run in enumerate(side.runs)
        for _ in run.levels
    )


def _placement(side: Side, index: int, *, left: bool) -> Placement:
    nearest = len(side.runs) - 1 if left else 0
    if index == nearest:
        return "adjacent" if side.adjacent else "nearest known"
    if index == len(side.runs) - 1 - nearest:
        return "first frames" if left else "last frames"
    return "planned endpoint"


def _level_rows(recipe: Recipe, height: int, width: int) -> tuple[LevelRow, ...]:
    rows = []
    for index, (level, placement) in enumerate(zip(recipe.levels, placements(recipe), strict=True)):
        side: SideName = "left" if index < len(recipe.left.levels) else "right"
        kernel = level.kernel
        tokens = kernel_tokens(level.frames, kernel, height, width)
        sizes = (kernel.t, kernel.h, kernel.w)
        fit = kernel_fit(level, height, width)
        rows.append(LevelRow(str(level), side, placement, level.frames, sizes, tokens, fit))
    return tuple(rows)


def _kernel_rows(recipe: Recipe, height: int, width: int) -> tuple[KernelRow, ...]:
    """One row per kernel, with a character for the picture: the rate where it is one digit, else a letter."""
    kernels = sorted({level.kernel for level in recipe.levels}, key=lambda k: (-k.volume, k))
    letters = iter("abcdefhijklmnopqrsuvwyz")
    rows = []
    for kernel in kernels:
        levels = [level for level in recipe.levels if level.kernel == kernel]
        short = kernel in {Kernel(n, 2 * n, 2 * n) for n in SHORT_KERNELS}
        symbol = str(kernel.t) if short and kernel.t < 10 else next(letters, "?")
        tokens = sum(kernel_tokens(level.frames, kernel, height, width) for level in levels)
        label = f"{kernel.t}x" if short else f"{kernel.t}x{kernel.h}x{kernel.w}"
        rows.append(KernelRow(str(kernel), label, symbol, sum(level.frames for level in levels), tokens))
    return tuple(rows)


def _strips(recipe: Recipe, placed: PlacedSection, symbols: dict[str, str]) -> tuple[Strip, ...]:
    section, length = placed.section, placed.length
    cells: dict[int, tuple[CellKind, str, str | None]] = {}
    tail = tail_by_time(recipe, section, length)
    for side, beyond in ((recipe.left, tail.left), (recipe.right, tail.right)):
        if side.tail in ("ta", "tc"):
            cells.update((frame, ("tail", "t", None)) for frame in beyond)
    rows = _level_rows(recipe, 1, 1)
    for row, slot in zip(rows, assign_by_time(recipe, section, length), strict=True):
        anchored = row.placement in ("first frames", "last frames")
        text = str(slot.kernel)
        kind: CellKind = "anchored" if anchored else "level"
        cell = (kind, "A" if anchored else symbols[text], text)
        cells.update((f, cell) for f, known in zip(slot.frames, slot.known, strict=True) if known)
    cells.update((frame, ("generated", "G", None)) for frame in section.targets)
    strips: list[Strip] = []
    for frame in range(length):
        missing: tuple[CellKind, str, str | None]
        missing = ("dropped", "-", None) if frame in section.known else ("gap", ".", None)
        kind, symbol, kernel = cells.get(frame, missing)
        if strips and (strips[-1].kind, strips[-1].symbol, strips[-1].kernel) == (kind, symbol, kernel):
            strips[-1] = Strip(strips[-1].first, frame, kind, symbol, kernel)
        else:
            strips.append(Strip(frame, frame, kind, symbol, kernel))
    return tuple(strips)


def _ranges(frames: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for frame in frames:
        if ranges and ranges[-1][1] == frame - 1:
            ranges[-1] = (ranges[-1][0], frame)
        else:
            ranges.append((frame, frame))
    return tuple(ranges)


def picture(strips: Iterable[Strip], longest: int = 24) -> str:
    """One character per frame in video time; of a stretch longer than ``longest`` the ends and its length."""
    parts = []
    for strip in strips:
        frames = strip.last - strip.first + 1
        edge = strip.symbol * (longest // 3)
        parts.append(strip.symbol * frames if frames <= longest else f"{edge}({frames}){edge}")
    return "".join(parts)


def sparkline(values: tuple[int, ...], columns: int = 60) -> str:
    """Bars from an empty to the largest value, at most ``columns`` of them, evenly picked."""
    bars = " ▁▂▃▄▅▆▇█"
    top = max(values, default=0)
    count = min(columns, len(values))
    picked = [values[i * len(values) // count] for i in range(count)]
    return "".join(bars[-(-value * 8 // top) if top else 0] for value in picked)
