"""Generation orders as data: a recipe and a video length become a tuple of sections.

The same sections build the training samples and drive the sampler, so training windows and
inference windows cannot disagree.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from fp_lab.recipe.notation import Recipe
from fp_lab.registry import Registry

Fill = str
"""How gaps are filled: ``forward``, ``bisect``, or the name of an order that a plugin registers."""


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
        fill: How gaps are filled: ``forward``, ``bisect`` (the middle first, then the middle of each
            remaining gap; for the endpoint order alone), or an order of a plugin, in place of that of the
            name; None for what the name stands for.
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
    _require_scenes(recipe, frames, scenes)
    calls = _calls(recipe, frames, given, implied_fill(recipe) if fill is None else fill)
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


def check_sections(
    sections: Sequence[Section],
    frames: int,
    given: int | Iterable[int],
    prompts: int = 1,
    source: str = "sections",
) -> None:
    """Check that sections make a video whole, each from frames that are there by then.

    Args:
        sections: In generation order.
        frames: Length of the video in latent frames.
        given: Frames that are there from the start, or the number of those that the video begins with.
        prompts: Number of prompts per video.
        source: What made the sections, for the message.

    Raises:
        ValueError: A frame is made twice, never, or used before it is made, or a section has a prompt that is
            not there; the message names the section.
    """
    there = set(range(given) if isinstance(given, int) else given)
    for index, section in enumerate(sections):
        fault = ""
        if not section.targets or list(section.targets) != sorted(set(section.targets)):
            fault = f"got targets {section.targets}, expected ascending frames"
        elif wrong := [f for f in section.targets if f in there or not 0 <= f < frames]:
            fault = f"got target {wrong[0]}, expected frames from 0 to {frames - 1} that are not there yet"
        # those of `plan` follow from its calls; looking at each would take time with the square of the length
        elif not isinstance(section.known, KnownFrames) and (early := sorted(section.known - there)):
            fault = f"got known frame {early[0]}, which no earlier section makes"
        elif not 0 <= section.prompt < prompts:
            fault = f"got prompt {section.prompt}, expected one of {prompts} from 0 on"
        if fault:
            raise ValueError(f"{source}: section {index + 1}: {fault}")
        there.update(section.targets)
    if missing := sorted(set(range(frames)) - there):
        raise ValueError(f"{source}: no section makes frame {missing[0]}, expected all {frames} to be made")


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
class Call:
    """One call of the model.

    Attributes:
        targets: Frames that it generates, ascending.
        prompt: Which prompt of the video drives it, where the order has one per endpoint.
    """

    targets: Targets
    prompt: int = 0


GenerationOrder = Callable[[list[range], Recipe], list[Call]]
"""(gaps of frames that are not given, ascending; recipe) -> calls that cover each of them once."""
ORDERS: Registry[GenerationOrder] = Registry("order", reserved="forward|bisect")
"""Orders by name: those that recipes imply, and those of plugins, which `fill` names."""


def _calls(recipe: Recipe, frames: int, given: frozenset[int], fill: Fill) -> list[Call]:
    """Calls of a plan in generation order."""
    gaps = _gaps(frames, given)
    if fill == "bisect":
        if recipe.order != "endpoint":
            raise ValueError(
                f"fill: got 'bisect' for the {recipe.order} order of {recipe}, expected 'forward'; only "
                "the endpoint order (a right run after x, such as td_f16k4f2k2f1k1_x_g9_x_f1k1) has a gap to "
                "bisect"
            )
        return _endpoint(gaps, recipe, _bisect)
    if fill == "forward":
        return ORDERS[recipe.order](gaps, recipe)
    if not ORDERS.foreign(fill):
        others = [name for name in ORDERS if ORDERS.foreign(name)]
        raise ValueError(
            f"fill: got {fill!r}, expected 'forward' or 'bisect', or an order of a plugin"
            + (f" ({', '.join(others)})" if others else " (plugins: [module])")
        )
    try:
        calls = list(ORDERS[fill](gaps, recipe))
    except Exception as error:  # a plan is made before any arm is run, so this is a fault of the settings
        place = f"order {fill!r} of {ORDERS.foreign(fill)}"
        raise ValueError(f"{place}: {type(error).__name__}: {error}") from error
    if odd := [call for call in calls if not isinstance(call, Call)]:
        raise ValueError(f"order {fill!r}: got {odd[0]!r} among its calls, expected `fp_lab.Call`")
    sections = [Section(call.targets, frozenset(), call.prompt) for call in calls]
    check_sections(sections, frames, given, prompts_of(recipe), f"order {fill!r}")
    longest = max((len(call.targets) for call in calls), default=0)
    if longest > 2 * recipe.section:  # as in the first call of the endpoint order
        raise ValueError(
            f"order {fill!r}: got a call of {longest} frames, expected at most {2 * recipe.section}, twice "
            f"the section of {recipe}"
        )
    return calls


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


@ORDERS.register("none")
@ORDERS.register("vanilla")
def _forward(gaps: list[range], recipe: Recipe) -> list[Call]:
    return [Call(chunk) for gap in gaps for chunk in _chunks(gap, recipe.section)]


@ORDERS.register("inverted")
def _inverted(gaps: list[range], recipe: Recipe) -> list[Call]:
    """Chunks counted from the end; the shorter remainder comes last, beside the first frame."""
    return [Call(chunk[::-1]) for gap in reversed(gaps) for chunk in _chunks(gap[::-1], recipe.section)]


@ORDERS.register("endpoint")
def _endpoint(gaps: list[range], recipe: Recipe, then: GenerationOrder = _forward) -> list[Call]:
    """Beginning and end in one call, then what lies between."""
    size = recipe.section
    if not gaps:
        return []
    if len(gaps) == 1 and len(gaps[0]) <= 2 * size:
        return [Call(tuple(gaps[0]))]
    first = tuple(gaps[0][:size]) + tuple(gaps[-1][-size:])
    rest = list(gaps)
    rest[0] = rest[0][size:]
    rest[-1] = rest[-1][:-size]
    rest = [gap for gap in rest if gap]
    return [Call(first), *then(rest, recipe)]


def _bisect(gaps: list[range], recipe: Recipe) -> list[Call]:
    """Coarse to fine over whole chunks, so that bisecting costs no more calls than going forward."""
    calls: list[Call] = []
    waiting = [_chunks(gap, recipe.section) for gap in gaps]
    while waiting:
        chunks = waiting.pop(0)
        middle = (len(chunks) - 1) // 2
        calls.append(Call(chunks[middle]))
        waiting += [half for half in (chunks[:middle], chunks[middle + 1 :]) if half]
    return calls


@ORDERS.register("planned")
def _planned(gaps: list[range], recipe: Recipe) -> list[Call]:
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
    return [Call(chunks[index], bisect_left(ends, index)) for index in [*dict.fromkeys(ends), *rest]]
