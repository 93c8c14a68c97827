"""Which known frame lands in which level: pure data, no tensors.

By time a level takes the frames at its place in video time. By importance the run beside the section takes
the most important known frames of its side, the most important one nearest to the section.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fp_lab.recipe import Kernel, Recipe, Run, Side, Tail
from fp_lab.recipe.orders import Section


@dataclass(frozen=True)
class LevelSlots:
    """The frames of one level.

    Attributes:
        kernel: Kernel of the level.
        frames: Time indices in video time; they may lie outside the video where not known.
        known: For each frame whether it exists and is packed here.
        positions: Index of each frame that its rotary phases are made from, by default the frames.
    """

    kernel: Kernel
    frames: tuple[int, ...]
    known: tuple[bool, ...]
    positions: tuple[int, ...] = field(default=())

    @property
    def times(self) -> tuple[int, ...]:
        """What rotary phases are made from."""
        return self.positions or self.frames


@dataclass(frozen=True)
class TailFrames:
    """Known frames beyond the packed ones, ascending, for each side of the section."""

    left: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True)
class TailSlots:
    """The frames of one side's tail.

    Attributes:
        tail: ``ta`` or ``tc``.
        kernel: Of the side's farthest level, which encodes the tail.
        frames: Known frames, ascending.
        positions: As in `LevelSlots`.
    """

    tail: Tail
    kernel: Kernel
    frames: tuple[int, ...]
    positions: tuple[int, ...] = field(default=())

    @property
    def times(self) -> tuple[int, ...]:
        """What rotary phases are made from."""
        return self.positions or self.frames


@dataclass(frozen=True)
class Assignment:
    """Every known frame that is packed: levels left to right, and the tails that keep frames."""

    slots: tuple[LevelSlots, ...]
    tails: tuple[TailSlots, ...]


def assign(
    recipe: Recipe,
    section: Section,
    length: int,
    importance: Sequence[float] | None = None,
    *,
    start_in_history: bool = False,
) -> Assignment:
    """Levels and tails of a section.

    Args:
        recipe: The levels and tails.
        section: Targets and known frames.
        length: Length of the video in latent frames.
        importance: Of every frame of the video (that of unknown ones does not count); None: by time.
        start_in_history: A run that keeps the outermost frames does not take them from the run beside the
            section.

    Raises:
        ValueError: A section without targets, targets outside the video, or not one importance per frame.
    """
    if importance is None:
        slots = assign_by_time(recipe, section, length, start_in_history=start_in_history)
    else:
        slots = assign_by_importance(recipe, section, length, importance, start_in_history=start_in_history)
    beyond = _beyond(recipe, section, slots)
    tails = []
    for side, frames, outer in (
        (recipe.left, beyond.left, slots[0] if slots else None),
        (recipe.right, beyond.right, slots[-1] if slots else None),
    ):
        if side.tail in ("ta", "tc"):
            assert outer is not None
            tails.append(TailSlots(side.tail, outer.kernel, frames))
    return Assignment(slots, tuple(tails))


def assign_by_time(
    recipe: Recipe, section: Section, length: int, *, start_in_history: bool = False
) -> tuple[LevelSlots, ...]:
    """Give every level its frames by their place in video time.

    An adjacent run takes the frames directly beside the section, known or not. A run after ``x`` starts at
    the nearest known frame of its side. A further, outermost run is anchored at the first or last frame of
    the video and keeps what it covers; runs between begin at the next block of known frames beyond a gap. No
    frame is known in two levels, but for `start_in_history`.

    Args:
        recipe: The levels.
        section: Targets (the sides lie before the first and after the last of them) and known frames.
        length: Length of the video in latent frames; anchors the outermost run on the right.
        start_in_history: See `assign`.

    Returns:
        One entry per level, the left side's then the right side's, left to right.

    Raises:
        ValueError: A section without targets, or targets outside the video.
    """
    return _both_sides(recipe, section, length, None, start_in_history)


def assign_by_importance(
    recipe: Recipe,
    section: Section,
    length: int,
    importance: Sequence[float],
    *,
    start_in_history: bool = False,
) -> tuple[LevelSlots, ...]:
    """Give the run beside the section, on each side, the most important known frames of that side.

    Frames are sorted by importance, those that are as important by their distance from the section; F_0 goes
    to the slot nearest to the section, and so on outwards; inside a level they stand in video time. Other
    runs are laid as by time. Slots for which there is no frame lie outside the video and are not known.

    Args:
        recipe: The levels.
        section: Targets and known frames.
        length: Length of the video in latent frames.
        importance: Of every frame of the video; NaN counts as least important.
        start_in_history: See `assign`.

    Raises:
        ValueError: As in `assign_by_time`, or not one importance per frame.
    """
    if len(importance) != length:
        raise ValueError(
            f"importance: got {len(importance)} values, expected one for each of {length} frames"
        )
    return _both_sides(recipe, section, length, importance, start_in_history)


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
    return _beyond(recipe, section, assign_by_time(recipe, section, length))


def _beyond(recipe: Recipe, section: Section, slots: tuple[LevelSlots, ...]) -> TailFrames:
    """Known frames of each side that its single run did not take."""
    first, last = min(section.targets), max(section.targets)
    packed = {f for slot in slots for f, known in zip(slot.frames, slot.known, strict=True) if known}
    rest = sorted(section.known - packed)
    return TailFrames(
        tuple(f for f in rest if f < first) if len(recipe.left.runs) == 1 else (),
        tuple(f for f in rest if f > last) if len(recipe.right.runs) == 1 else (),
    )


def _both_sides(
    recipe: Recipe,
    section: Section,
    length: int,
    importance: Sequence[float] | None,
    start_in_history: bool,
) -> tuple[LevelSlots, ...]:
    first, last = _span(section, length)
    left = frozenset(frame for frame in section.known if frame < first)
    right = frozenset(frame for frame in section.known if last < frame < length)
    # The right side is the left side with time reversed: one rule serves both.
    slots = _assign_left(recipe.left, first, left, importance, start_in_history)
    flipped = Side(tuple(run.mirrored for run in recipe.right.runs[::-1]), recipe.right.adjacent)
    mirror = length - 1
    reversed_importance = None if importance is None else importance[::-1]
    mirrored = frozenset(mirror - frame for frame in right)
    for slot in reversed(
        _assign_left(flipped, mirror - last, mirrored, reversed_importance, start_in_history)
    ):
        frames = tuple(mirror - frame for frame in reversed(slot.frames))
        slots.append(LevelSlots(slot.kernel, frames, slot.known[::-1]))
    return tuple(slots)


def _span(section: Section, length: int) -> tuple[int, int]:
    if not section.targets:
        raise ValueError("section: got no targets, expected at least one frame to generate")
    first, last = min(section.targets), max(section.targets)
    if first < 0 or last >= length:
        raise ValueError(f"section: got targets {first}..{last}, expected frames from 0 to {length - 1}")
    return first, last


def _assign_left(
    side: Side,
    first: int,
    known: frozenset[int],
    importance: Sequence[float] | None,
    start_in_history: bool,
) -> list[LevelSlots]:
    """Place one side's runs before frame ``first``; ``known`` holds only frames before it."""
    placed: list[list[LevelSlots]] = []
    free = set(known)
    runs = side.runs
    # the outermost run takes its frames first: while the history is short, the near run does without the
    # first frame; the released F1 packs it in both (`start_in_history`)
    if len(runs) > 1:
        placed.append(_slots(runs[0], 0, set(known) if start_in_history else free))
    near: list[list[LevelSlots]] = []
    # without any known frame the run is virtual, right beside the section
    nearest_known = max(known, default=first - 1)
    stop = first if side.adjacent else nearest_known + 1
    for index, run in enumerate(reversed(runs[1:] if len(runs) > 1 else runs)):
        if importance is not None and index == 0:
            near.append(_ranked(run, free, importance))
        else:
            near.append(_slots(run, stop - run.frames, free))
        # the next run lies beyond a gap (x): known frames that continue this one are skipped
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
        # a frame that another run took keeps its slot, so frames do not move between levels
        frames = tuple(range(start, start + level.frames))
        slots.append(LevelSlots(level.kernel, frames, tuple(frame in free for frame in frames)))
        free.difference_update(frames)
        start += level.frames
    return slots


def _ranked(run: Run, free: set[int], importance: Sequence[float]) -> list[LevelSlots]:
    """Fill a run from its nearest level outwards with the most important free frames."""

    def rank(frame: int) -> tuple[float, int]:
        # NaN last, or the order would depend on the sort; of equals the later frame, the nearer one to the
        # section (the right side comes mirrored)
        value = importance[frame]
        return (math.inf if math.isnan(value) else -value, -frame)

    # F_0, the most important frame, in the level beside the section (FramePack paper, section 3.1)
    waiting = sorted(free, key=rank)
    nowhere = -1
    slots = []
    for level in reversed(run.levels):
        # in video time again: one token pools neighbours in time
        taken, waiting = sorted(waiting[: level.frames]), waiting[level.frames :]
        missing = level.frames - len(taken)
        frames = (*range(nowhere - missing + 1, nowhere + 1), *taken)
        nowhere -= missing
        free.difference_update(taken)
        slots.append(LevelSlots(level.kernel, frames, (False,) * missing + (True,) * len(taken)))
    return slots[::-1]
