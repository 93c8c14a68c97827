"""Which known frame lands in which level, by time: pure data, no tensors."""

from collections.abc import Iterable
from dataclasses import dataclass

from fp_lab.orders import Section
from fp_lab.recipe import Kernel, Recipe, Run, Side


@dataclass(frozen=True)
class LevelSlots:
    """The frames of one level.

    Attributes:
        kernel: Kernel of the level.
        frames: Time indices in video time; they may lie outside the video where not known.
        known: For each frame whether it exists and is packed here.
    """

    kernel: Kernel
    frames: tuple[int, ...]
    known: tuple[bool, ...]


@dataclass(frozen=True)
class TailFrames:
    """Known frames beyond the packed ones, ascending, for each side of the section."""

    left: tuple[int, ...]
    right: tuple[int, ...]


def assign_by_time(recipe: Recipe, section: Section, length: int) -> tuple[LevelSlots, ...]:
    """Give every level its frames.

    An adjacent run takes the frames directly beside the section, known or not. A run after ``x`` starts at
    the nearest known frame of its side. A further, outermost run is anchored at the first or last frame of
    the video and keeps what it covers; runs between begin at the next block of known frames beyond a gap. No
    frame is known in two levels.

    Args:
        recipe: The levels.
        section: Targets (the sides lie before the first and after the last of them) and known frames.
        length: Length of the video in latent frames; anchors the outermost run on the right.

    Returns:
        One entry per level, the left side's then the right side's, left to right.

    Raises:
        ValueError: A section without targets, or targets outside the video.
    """
    first, last = _span(section, length)
    left = frozenset(frame for frame in section.known if frame < first)
    right = frozenset(frame for frame in section.known if last < frame < length)
    # The right side is the left side with time reversed: one rule serves both.
    slots = _assign_left(recipe.left, first, left)
    flipped = Side(tuple(run.mirrored for run in recipe.right.runs[::-1]), recipe.right.adjacent)
    mirror = length - 1
    for slot in reversed(_assign_left(flipped, mirror - last, frozenset(mirror - frame for frame in right))):
        frames = tuple(mirror - frame for frame in reversed(slot.frames))
        slots.append(LevelSlots(slot.kernel, frames, slot.known[::-1]))
    return tuple(slots)


def tail_by_time(recipe: Recipe, section: Section, length: int) -> TailFrames:
    """Known frames farther out than a side's run: what ``td`` drops, ``ta`` pools and ``tc`` averages.

    Args:
        recipe: The levels; a side without a run, or with several, has no tail.
        section: Targets and known frames.
        length: Length of the video in latent frames.

    Returns:
        The tail frames of each side (also where the recipe names no tail, which drops them).

    Raises:
        ValueError: A section without targets, or targets outside the video.
    """
    _span(section, length)
    slots = assign_by_time(recipe, section, length)
    left = right = ()  # type: tuple[int, ...]
    if len(recipe.left.runs) == 1:
        outer = slots[0].frames[0]
        left = tuple(sorted(frame for frame in section.known if frame < outer))
    if len(recipe.right.runs) == 1:
        outer = slots[-1].frames[-1]
        right = tuple(sorted(frame for frame in section.known if outer < frame < length))
    return TailFrames(left, right)


def _span(section: Section, length: int) -> tuple[int, int]:
    if not section.targets:
        raise ValueError("section: got no targets, expected at least one frame to generate")
    first, last = min(section.targets), max(section.targets)
    if first < 0 or last >= length:
        raise ValueError(f"section: got targets {first}..{last}, expected frames from 0 to {length - 1}")
    return first, last


def _assign_left(side: Side, first: int, known: frozenset[int]) -> list[LevelSlots]:
    """Place one side's runs before frame ``first``; ``known`` holds only frames before it."""
    placed: list[list[LevelSlots]] = []
    free = set(known)
    runs = side.runs
    if len(runs) > 1:
        placed.append(_slots(runs[0], 0, free))
    near: list[list[LevelSlots]] = []
    nearest_known = max(known, default=first - 1)
    stop = first if side.adjacent else nearest_known + 1
    for run in reversed(runs[1:] if len(runs) > 1 else runs):
        near.append(_slots(run, stop - run.frames, free))
        stop = _next_block(known, min(stop - run.frames, stop))
    return [slot for run_slots in placed + near[::-1] for slot in run_slots]


def _next_block(known: frozenset[int], stop: int) -> int:
    """End of the first block of known frames beyond a gap before ``stop``; ``stop`` itself without one."""
    block = stop
    while block - 1 in known:
        block -= 1
    beyond: Iterable[int] = (frame for frame in known if frame < block)
    return max(beyond, default=stop - 1) + 1


def _slots(run: Run, start: int, free: set[int]) -> list[LevelSlots]:
    """Lay a run from frame ``start`` on and take its frames out of ``free``."""
    slots = []
    for level in run.levels:
        frames = tuple(range(start, start + level.frames))
        slots.append(LevelSlots(level.kernel, frames, tuple(frame in free for frame in frames)))
        free.difference_update(frames)
        start += level.frames
    return slots
