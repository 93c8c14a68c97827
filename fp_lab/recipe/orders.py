"""Generation orders as data: a recipe and a video length become a tuple of sections.

The same sections build the training samples and drive the sampler, so training windows and
inference windows cannot disagree.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from fp_lab.recipe.notation import Order, Recipe

Fill = Literal["forward", "bisect"]


class KnownFrames(Set[int]):
    """The frames that are known before a call of a plan; all calls of the plan share its memory.

    A set of its own for every call would take memory with the square of the video's length.

    Args:
        call_of: number of the call that makes each frame, -1 where it is given.
        calls: how many calls are over.
        size: of the set.
    """

    __slots__ = ("_call_of", "_calls", "_size")

    def __init__(self, call_of: Sequence[int], calls: int, size: int) -> None:
        self._call_of, self._calls, self._size = call_of, calls, size

    def __contains__(self, frame: object) -> bool:
        if not isinstance(frame, int) or not 0 <= frame < len(self._call_of):
            return False
        return self._call_of[frame] < self._calls

    def __iter__(self) -> Iterator[int]:
        return (frame for frame, call in enumerate(self._call_of) if call < self._calls)

    def __len__(self) -> int:
        return self._size

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"{{{', '.join(map(str, self))}}}"

    @classmethod
    def _from_iterable(cls, frames: Iterable[int]) -> frozenset[int]:  # type: ignore[override]
        """What set operations give."""
        return frozenset(frames)


@dataclass(frozen=True)
class Section:
    """One call of the model.

    Attributes:
        targets: Frames to generate, ascending video time; not consecutive in the endpoint order's first call.
        known: Every frame given or generated before this call.
        prompt: Which prompt of the video says what is to be seen: that of the section's scene, or in the
            planned order of the endpoint that the section leads to.
    """

    targets: tuple[int, ...]
    known: Set[int]
    prompt: int = 0


Targets = tuple[int, ...]


def implied_fill(recipe: Recipe) -> Fill:
    """The fill that the name stands for: ``bisect`` for gaps on both sides (``run_x_gN_x_f1k1``)."""
    both = recipe.order == "endpoint" and bool(recipe.left.runs) and not recipe.left.adjacent
    return "bisect" if both else "forward"


@lru_cache(maxsize=8)
def plan(
    recipe: Recipe,
    frames: int,
    *,
    given: frozenset[int] = frozenset({0}),
    fill: Fill | None = None,
    scenes: tuple[int, ...] = (0,),
) -> tuple[Section, ...]:
    """Cover every frame that is not given exactly once, in generation order.

    A section never reaches across a given frame, except the endpoint order's first call. The last section of
    a direction is shorter where the length asks for it.

    Args:
        recipe: Names the section length and implies the order.
        frames: Length of the video in latent frames, at least 1.
        given: Frames that exist from the start, by default the first one; none for text to video.
        fill: How the endpoint order fills its gap: ``forward``, or ``bisect`` (the middle first, then the
            middle of each remaining gap); None for what the name stands for. Only that order has the choice.
        scenes: First frame of every scene, from 0 on; a section belongs to the scene of its middle frame. The
            planned order has its endpoints instead.

    Returns:
        The sections; empty when everything is given.

    Raises:
        ValueError: No frame, a given frame outside the video, a fill without a gap to fill, or scenes that do
            not ascend from 0 inside the video or that the order cannot have.
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
    _require_scenes(recipe, frames, scenes)
    calls = ORDERS[recipe.order](_gaps(frames, given), recipe, fill)
    call_of = [-1] * frames
    for number, call in enumerate(calls):
        for frame in call.targets:
            call_of[frame] = number
    sections: list[Section] = []
    size = len(given)
    for number, call in enumerate(calls):
        scene = bisect_right(scenes, call.targets[len(call.targets) // 2]) - 1
        sections.append(Section(call.targets, KnownFrames(call_of, number, size), call.prompt or scene))
        size += len(call.targets)
    return tuple(sections)


def even_scenes(frames: int, count: int) -> tuple[int, ...]:
    """First frames of so many scenes that share a video of so many frames evenly."""
    return tuple(index * frames // count for index in range(count))


def _require_scenes(recipe: Recipe, frames: int, scenes: tuple[int, ...]) -> None:
    ascending = scenes[:1] == (0,) and all(a < b for a, b in pairwise((*scenes, frames)))
    if not ascending:
        raise ValueError(
            f"scenes: got first frames {scenes}, expected them to ascend from 0 to less than the {frames} of "
            "the video"
        )
    if len(scenes) > 1 and recipe.order in ("endpoint", "planned"):
        raise ValueError(
            f"scenes: got {len(scenes)} for the {recipe.order} order of {recipe}, expected one: the planned "
            "order has a prompt per endpoint, the endpoint order makes beginning and end under the same one"
        )


@dataclass(frozen=True)
class _Call:
    """Targets of one call, and which prompt drives it."""

    targets: Targets
    prompt: int = 0


def prompts_of(recipe: Recipe) -> int:
    """How many prompts a video of this recipe takes: one per endpoint of the planned order, else one."""
    return max(1, len(recipe.right.runs))


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


def _forward(gaps: list[range], recipe: Recipe, fill: Fill) -> list[_Call]:
    return [_Call(chunk) for gap in gaps for chunk in _chunks(gap, recipe.section)]


def _inverted(gaps: list[range], recipe: Recipe, fill: Fill) -> list[_Call]:
    """Chunks counted from the end; the shorter remainder comes last, beside the first frame."""
    return [_Call(chunk[::-1]) for gap in reversed(gaps) for chunk in _chunks(gap[::-1], recipe.section)]


def _endpoint(gaps: list[range], recipe: Recipe, fill: Fill) -> list[_Call]:
    """Beginning and end in one call, then what lies between."""
    size = recipe.section
    if not gaps:
        return []
    if len(gaps) == 1 and len(gaps[0]) <= 2 * size:
        return [_Call(tuple(gaps[0]))]
    first = tuple(gaps[0][:size]) + tuple(gaps[-1][-size:])
    rest = list(gaps)
    rest[0] = rest[0][size:]
    rest[-1] = rest[-1][:-size]
    rest = [gap for gap in rest if gap]
    return [_Call(first), *(_forward if fill == "forward" else _bisect)(rest, recipe, fill)]


def _bisect(gaps: list[range], recipe: Recipe, fill: Fill) -> list[_Call]:
    """Coarse to fine over whole chunks, so that bisecting costs no more calls than going forward."""
    calls: list[_Call] = []
    waiting = [_chunks(gap, recipe.section) for gap in gaps]
    while waiting:
        chunks = waiting.pop(0)
        middle = (len(chunks) - 1) // 2
        calls.append(_Call(chunks[middle]))
        waiting += [half for half in (chunks[:middle], chunks[middle + 1 :]) if half]
    return calls


def _planned(gaps: list[range], recipe: Recipe, fill: Fill) -> list[_Call]:
    """An endpoint at the end of every stretch, nearest first, then the stretches forward.

    The chunks are shared out evenly among as many stretches as there are right runs, and each stretch is
    driven by the prompt of the endpoint that it leads to. Of more endpoints than chunks the last ones of a
    chunk do without.
    """
    chunks = [chunk for gap in gaps for chunk in _chunks(gap, recipe.section)]
    endpoints = len(recipe.right.runs)
    if not chunks:
        return []
    ends = [-(-(index + 1) * len(chunks) // endpoints) - 1 for index in range(endpoints)]
    rest = [index for index in range(len(chunks)) if index not in ends]
    return [_Call(chunks[index], bisect_left(ends, index)) for index in [*dict.fromkeys(ends), *rest]]


ORDERS: dict[Order, Callable[[list[range], Recipe, Fill], list[_Call]]] = {
    "none": _forward,
    "vanilla": _forward,
    "endpoint": _endpoint,
    "inverted": _inverted,
    "planned": _planned,
}
