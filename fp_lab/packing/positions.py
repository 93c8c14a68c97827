"""Frame indices that rotary phases are made from: of the video, or as the released code counts them."""

from dataclasses import replace

from fp_lab.packing.assignment import Assignment, LevelSlots, TailSlots
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Section

_LONGEST_TRUE = 4
"""Videos of more sections than this have shortened paddings in released code."""


def released_paddings(sections: int) -> tuple[int, ...]:
    """Sections that lie between the first frame and each generated one, in generation order.

    As in the released inference (https://github.com/lllyasviel/FramePack, demo_gradio.py): the true count
    S-1..0, but ``[3] + [2]*(S-3) + [1, 0]`` for S > 4, which stretches the middle of long videos.

    Args:
        sections: number of sections S, at least 1.
    """
    if sections > _LONGEST_TRUE:
        return (3, *([2] * (sections - 3)), 1, 0)
    return tuple(range(sections - 1, -1, -1))


def place(
    recipe: Recipe, section: Section, length: int, assignment: Assignment, config: ContextConfig
) -> tuple[tuple[int, ...], Assignment]:
    """Positions of the section's targets, and the assignment with positions.

    Args:
        recipe: whose levels these are.
        section: its targets and known frames.
        length: of the video, latent frames.
        assignment: frames of every level and tail.
        config: which positions.
    """
    if config.positions == "relative":
        # as demo_gradio_f1.py: start 0, 4x 1-16, 2x 17-18, 1x 19, section 20-28, however long the video
        return _side_by_side(recipe, section, assignment)
    shift = 0
    if config.padding == "released" and recipe.order == "inverted":
        shift = _released_shift(recipe, section, length)
    if not shift:
        return section.targets, assignment
    # rotary attention sees differences only: what moves is the distance to the frames before the section
    first = min(section.targets)

    def shifted(frames: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(frame + shift if frame >= first else frame for frame in frames)

    slots = tuple(replace(slot, positions=shifted(slot.frames)) for slot in assignment.slots)
    tails = tuple(replace(tail, positions=shifted(tail.frames)) for tail in assignment.tails)
    return shifted(section.targets), Assignment(slots, tails)


def _released_shift(recipe: Recipe, section: Section, length: int) -> int:
    """Frames by which the section and all after it move, for the paddings of released code."""
    first = min(section.targets)
    before = [frame for frame in section.known if frame < first]
    start = max(before, default=-1) + 1
    # rounded up: a shorter section beside the first frame is a section
    true = -(-(first - start) // recipe.section)
    sections = -(-(length - start) // recipe.section)
    # paddings are in generation order, from the end of the video backwards: index 0 has sections - 1 before
    # it
    return (released_paddings(sections)[sections - 1 - true] - true) * recipe.section


def _side_by_side(
    recipe: Recipe, section: Section, assignment: Assignment
) -> tuple[tuple[int, ...], Assignment]:
    """Levels, section, levels without gaps from 0 on; tails count on outwards."""
    left = len(recipe.left.levels)
    position = 0
    slots: list[LevelSlots] = []
    # every slot counts, known or not: positions do not depend on how much history there is
    for slot in assignment.slots[:left]:
        slots.append(_from(slot, position))
        position += len(slot.frames)
    targets = tuple(range(position, position + len(section.targets)))
    position += len(section.targets)
    for slot in assignment.slots[left:]:
        slots.append(_from(slot, position))
        position += len(slot.frames)
    first = min(section.targets)
    tails = tuple(_tail_from(tail, first, position) for tail in assignment.tails)
    return targets, Assignment(tuple(slots), tails)


def _from(slot: LevelSlots, position: int) -> LevelSlots:
    return replace(slot, positions=tuple(range(position, position + len(slot.frames))))


def _tail_from(tail: TailSlots, first: int, end: int) -> TailSlots:
    count = len(tail.frames)
    if count and tail.frames[0] < first:
        return replace(tail, positions=tuple(range(-count, 0)))
    return replace(tail, positions=tuple(range(end, end + count)))
