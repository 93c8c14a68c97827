"""Recipes from their swappable parts: compression by name or by rate, order, section, tail, codebook."""

import math
from difflib import get_close_matches
from typing import cast

from fp_lab.recipe.grammar import COMPRESSIONS, parse_run
from fp_lab.recipe.notation import (
    BASE,
    LARGEST_NUMBER,
    TAILS,
    Kernel,
    Level,
    Recipe,
    RecipeError,
    Run,
    Side,
    Tail,
)

_RATE = "rate"
_HALVINGS = tuple(Kernel(1, 2 ** (1 + (i + 1) // 2), 2 ** (1 + i // 2)) for i in range(13))
"""Kernels of 1, 1/2, 1/4, .. of a frame's tokens: (1,2,2), (1,4,2), (1,4,4), (1,8,4), (1,8,8), .."""


def _choice(what: str, got: str, choices: tuple[str, ...]) -> str:
    if got in choices:
        return got
    close = get_close_matches(got, choices, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{what}: got {got!r}, expected one of {', '.join(choices)}{hint}")


def run_of_rate(rate: float, deepest: int = 4) -> Run:
    """A run whose history costs ``rate`` frames' worth of tokens, of powers of two.

    The geometric schedule 1 + 1/2 + 1/4 + .. costs 2, its last term twice. More is had by duplicated terms,
    2.625 = 2 + 1/2 + 1/8, less by dropped ones, 1.3125 = 1 + 1/4 + 1/16 (FramePack paper, section 3.1).

    Args:
        rate: Limit of the history's tokens over those of one frame; a multiple of 2**-deepest.
        deepest: Exponent of the smallest term, 1 to 12.

    Returns:
        Single frames at spatial kernels, the finest beside the section on its right.

    Raises:
        ValueError: A rate that is not above 0, or that the terms cannot make; the message has the nearest.
    """
    if not 1 <= deepest < len(_HALVINGS):
        raise ValueError(f"deepest: got {deepest}, expected 1 to {len(_HALVINGS) - 1}")
    unit = 2**deepest
    units = round(rate * unit)
    if units < 1 or units != rate * unit:
        raise ValueError(
            f"rate: got {rate}, expected a positive multiple of 1/{unit}, such as {max(units, 1) / unit}, "
            "or a deeper smallest term"
        )
    frames = [0] * (deepest + 1)
    if units >= 2 * unit:
        frames = [1] * (deepest + 1)
        frames[-1] += 1
        units -= 2 * unit
    frames[0] += units // unit
    for exponent in range(1, deepest + 1):
        frames[exponent] += units >> (deepest - exponent) & 1
    levels = [Level(count, kernel) for count, kernel in zip(frames, _HALVINGS, strict=False) if count]
    return Run(tuple(levels[::-1]))


def _compression_runs(compression: str) -> tuple[Run, ...]:
    """The run beside the section, and before it one for the start of the video where there is one."""
    named = COMPRESSIONS.get(compression, compression)
    if not named.startswith(_RATE) and not (named[:1] == "f" and named[1:2].isdigit()):
        choices = (*COMPRESSIONS, "levels such as f16k4f2k2f1k1", "rate2.625")
        _choice("compression", compression, choices)
    try:
        return _runs_of(named)
    except ValueError as error:
        raise ValueError(f"compression: {error}") from error


def _runs_of(compression: str) -> tuple[Run, ...]:
    if compression.startswith(_RATE):
        try:
            rate = float(compression.removeprefix(_RATE))
            if not math.isfinite(rate):
                raise ValueError
        except ValueError:
            expected = f"{_RATE} and a number, such as rate2.625"
            raise RecipeError(compression, 0, expected, len(compression)) from None
        return (run_of_rate(rate),)
    runs = tuple(map(parse_run, compression.split("_x_")))
    if len(runs) > 2:
        expected = "at most one run before another, such as f1k1_x_f16k4f2k2f1k1"
        raise RecipeError(compression, 0, expected, len(compression))
    return runs


def from_parts(
    compression: str,
    order: str,
    section: int = 9,
    tail: str | None = "td",
    codebook: int | None = None,
    sink: int = 0,
) -> Recipe:
    """Build a recipe from the swappable parts of a config.

    Args:
        compression: A key of ``COMPRESSIONS``, levels for the left side such as ``f16k4f2k2f1k1``, or a rate
            such as ``rate2.625`` (see `run_of_rate`). A run before ``_x_`` stays at the start of the video
            and takes the place of the tail; the inverted order keeps the first frame there instead.
        order: ``none``, ``vanilla``, ``endpoint`` or ``inverted`` (``none`` has no history: neither
            compression nor tail shows in the name).
        section: Frames generated per call.
        tail: ``td``, ``ta``, ``tc`` or ``None``.
        codebook: Number of centroids of a discretised history, ``None`` for a continuous one.
        sink: So many first frames of the video that are always kept, uncompressed: a run for the start.

    Returns:
        ``[tail_]run_gN`` for vanilla, ``[tail_]run_gN_x_f1k1`` for endpoint (``start_x_run_gN`` with a run
        for the start), ``f1k1_x_gN_<mirrored run>[_tail]`` for inverted, ``gN`` for none.

    Raises:
        ValueError: An unknown compression, order or tail, levels that cannot be read, a section or codebook
            below 1, order ``planned``, which has no parts, or a start that cannot be had together with others
            of the parts. The message begins with the part.
    """
    runs = _compression_runs(compression)
    if order == "planned":
        raise ValueError(
            "order: got 'planned', expected none, vanilla, endpoint or inverted; a planned recipe has a "
            "right run per endpoint, so write its name out, such as recipe: f16k4f2k2f1k1_x_g9_x_f1k1_x_f1k1"
        )
    _choice("order", order, ("none", "vanilla", "endpoint", "inverted"))
    kind = None if tail is None else cast(Tail, _choice("tail", tail, tuple(map(str, TAILS))))
    one = Run((Level(1, BASE),))
    if not 0 <= sink <= LARGEST_NUMBER:
        raise ValueError(f"sink: got {sink}, expected an integer from 0 to {LARGEST_NUMBER}")
    if sink:
        if order not in ("vanilla", "endpoint") or len(runs) > 1:
            raise ValueError(
                f"sink: got {sink} with order {order!r} and compression {compression!r}, expected the "
                "vanilla or endpoint order and a compression that does not keep the start by itself, or 0"
            )
        runs = (Run((Level(sink, BASE),)), *runs)
    if order == "none":
        return Recipe(section, codebook=codebook)
    if order == "inverted":
        right = Side((runs[-1].mirrored,), True, kind)
        return Recipe(section, Side((one,)), right, codebook)
    if len(runs) > 1 and kind in ("ta", "tc"):
        raise ValueError(
            f"tail: got {tail!r} with frames that are kept at the start of the video, expected td or null: "
            "they take the place of the tail"
        )
    left = Side(runs, True, kind if len(runs) == 1 else None)
    return Recipe(section, left, Side((one,)) if order == "endpoint" else Side(), codebook)
