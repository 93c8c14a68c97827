"""Generation orders as data: a recipe and a video length become a tuple of sections.

The same sections build the training samples and drive the sampler, so training windows and
inference windows cannot disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from fp_lab.recipe import Recipe

Fill = Literal["forward", "bisect"]


@dataclass(frozen=True)
class Section:
    """One call of the model.

    Attributes:
        targets: Frames to generate, ascending video time; not consecutive in the endpoint order's first call.
        known: Every frame given or generated before this call.
    """

    targets: tuple[int, ...]
    known: frozenset[int]


Targets = tuple[int, ...]


def implied_fill(recipe: Recipe) -> Fill:
    """The fill that the name stands for: ``bisect`` for gaps on both sides (``run_x_gN_x_f1k1``)."""
    both = recipe.order == "endpoint" and bool(recipe.left.runs) and not recipe.left.adjacent
    return "bisect" if both else "forward"


def plan(
    recipe: Recipe, frames: int, *, given: frozenset[int] = frozenset({0}), fill: Fill | None = None
) -> tuple[Section, ...]:
    """Cover every frame that is not given exactly once, in generation order.

    A section never reaches across a given frame, except the endpoint order's first call.

    Args:
        recipe: Names the section length and implies the order.
        frames: Length of the video in latent frames, at least 1.
        given: Frames that exist from the start, by default the first one.
        fill: How the endpoint order fills its gap: ``forward``, or ``bisect`` (the middle first, then the
            middle of each remaining gap); None for what the name stands for. Only that order has the choice.

    Returns:
        The sections; empty when everything is given.

    Raises:
        ValueError: No frame, a given frame outside the video, a fill without a gap to fill, or the order
            ``planned``.
    """
    if frames < 1:
        raise ValueError(f"frames: got {frames}, expected at least 1")
    if outside := sorted(frame for frame in given if not 0 <= frame < frames):
        raise ValueError(f"given: got {outside} outside the video, expected frames from 0 to {frames - 1}")
    fill = implied_fill(recipe) if fill is None else fill
    if fill not in ("forward", "bisect"):
        raise ValueError(f"fill: got {fill!r}, expected 'forward' or 'bisect'")
    if fill == "bisect" and recipe.order != "endpoint":
        raise ValueError(
            f"fill: got 'bisect' for the {recipe.order} order of {recipe}, expected 'forward'; only the "
            "endpoint order (a right run after x, such as td_f16k4f2k2f1k1_x_g9_x_f1k1) has a gap to bisect"
        )
    if recipe.order not in ORDERS:
        raise ValueError(
            f"recipe {recipe}: got order {recipe.order!r} (several right runs), "
            f"expected one of {', '.join(ORDERS)}"
        )
    gaps = _gaps(frames, given)
    if recipe.order == "endpoint":
        return _sections(_endpoint(gaps, recipe.section, fill), given)
    return _sections(ORDERS[recipe.order](gaps, recipe.section), given)


def _sections(calls: Sequence[Targets], given: frozenset[int]) -> tuple[Section, ...]:
    sections, known = [], given
    for targets in calls:
        sections.append(Section(targets, known))
        known = known.union(targets)
    return tuple(sections)


def _gaps(frames: int, known: frozenset[int]) -> list[range]:
    """Maximal ranges of unknown frames, ascending."""
    gaps: list[range] = []
    start = 0
    for stop in sorted(known | {frames}):
        if start < stop:
            gaps.append(range(start, stop))
        start = stop + 1
    return gaps


def _chunks(gap: range, size: int) -> list[Targets]:
    return [tuple(gap[i : i + size]) for i in range(0, len(gap), size)]


def _forward(gaps: list[range], size: int) -> list[Targets]:
    return [chunk for gap in gaps for chunk in _chunks(gap, size)]


def _inverted(gaps: list[range], size: int) -> list[Targets]:
    """Chunks counted from the end; the shorter remainder comes last, beside the first frame."""
    return [chunk[::-1] for gap in reversed(gaps) for chunk in _chunks(gap[::-1], size)]


def _endpoint(gaps: list[range], size: int, fill: Fill = "forward") -> list[Targets]:
    """Beginning and end in one call, then what lies between."""
    if not gaps:
        return []
    if len(gaps) == 1 and len(gaps[0]) <= 2 * size:
        return [tuple(gaps[0])]
    first = tuple(gaps[0][:size]) + tuple(gaps[-1][-size:])
    rest = list(gaps)
    rest[0] = rest[0][size:]
    rest[-1] = rest[-1][:-size]
    rest = [gap for gap in rest if gap]
    return [first, *(_forward(rest, size) if fill == "forward" else _bisect(rest, size))]


def _bisect(gaps: list[range], size: int) -> list[Targets]:
    """Coarse to fine over whole chunks, so that bisecting costs no more calls than going forward."""
    calls: list[Targets] = []
    waiting = [_chunks(gap, size) for gap in gaps]
    while waiting:
        chunks = waiting.pop(0)
        middle = (len(chunks) - 1) // 2
        calls.append(chunks[middle])
        waiting += [half for half in (chunks[:middle], chunks[middle + 1 :]) if half]
    return calls


ORDERS: dict[str, Callable[[list[range], int], list[Targets]]] = {
    "none": _forward,
    "vanilla": _forward,
    "endpoint": _endpoint,
    "inverted": _inverted,
}
