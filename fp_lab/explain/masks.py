"""Who reads whom in the alternative architectures, as data: blocks of frames, their noise, and their mask.

`fp_lab.lab.report.pictures.attention` draws it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from fp_lab.baselines import Baseline, baseline
from fp_lab.packing.assignment import assign_by_time
from fp_lab.packing.context import Attention
from fp_lab.recipe import BASE, Kernel, Recipe
from fp_lab.recipe.orders import Section, plan

LENGTH = 69
"""Latent frames of the video that is drawn."""


@dataclass(frozen=True)
class Block:
    """Frames that are read alike, in the notation of the name; the section's kernel is the base."""

    label: str
    frames: tuple[int, ...]
    kernel: Kernel = BASE


@dataclass(frozen=True)
class Reading:
    """The last call but one of a baseline.

    Attributes:
        name: of the baseline.
        recipe: of its context.
        attention: as in `fp_lab.packing.context`.
        noises: level of the history's noise in each pass through the model, as a factor of the section's
            level t; the second pass of history guidance has pure noise, whatever t is.
        length: frames of the video.
        blocks: in video time, the section last.
        reads: for each block as query, whether it attends to each block as key.
    """

    name: str
    recipe: Recipe
    attention: Attention
    noises: tuple[float, ...]
    length: int
    blocks: tuple[Block, ...]
    reads: tuple[tuple[bool, ...], ...]


def reading(name: str, height: int = 60, width: int = 104, protocol: str = "paper") -> Reading:
    """Work out the picture of a baseline.

    Args:
        name: a key of `fp_lab.baselines.BASELINES`.
        height: latent rows.
        width: latent columns.
        protocol: one of `fp_lab.baselines.PROTOCOLS`.

    Raises:
        ValueError: an unknown name or protocol.
    """
    made = baseline(name, protocol, frames=LENGTH, rows=height, columns=width)
    section = plan(made.recipe, LENGTH)[-2]
    attention = cast(Attention, made.settings.get("context.attention", "full"))
    blocks = (*_history(made.recipe, section, attention), Block(f"g{made.recipe.section}", section.targets))
    return Reading(
        name=name,
        recipe=made.recipe,
        attention=attention,
        noises=_noises(made),
        length=LENGTH,
        blocks=blocks,
        reads=mask(attention, len(blocks)),
    )


def mask(attention: Attention, blocks: int) -> tuple[tuple[bool, ...], ...]:
    """Whether each block (row) attends to each block (column); the last one is the section."""
    everything, last = range(blocks), blocks - 1
    if attention == "block_causal":
        return tuple(tuple(key <= query for key in everything) for query in everything)
    if attention == "isolated":
        return tuple(tuple(key < last or query == last for key in everything) for query in everything)
    return ((True,) * blocks,) * blocks


def _noises(made: Baseline) -> tuple[float, ...]:
    level = float(made.settings.get("sampling.history_level", 0.0))
    return (level, 1.0) if "sampling.history_guidance" in made.settings else (level,)


def _history(recipe: Recipe, section: Section, attention: Attention) -> Sequence[Block]:
    """Known frames of every level; with block-causal attention blocks of a section's length."""
    slots = assign_by_time(recipe, section, LENGTH)
    known = [
        tuple(frame for frame, is_known in zip(slot.frames, slot.known, strict=True) if is_known)
        for slot in slots
    ]
    if attention != "block_causal":
        levels = zip(recipe.levels, known, strict=True)
        return [Block(str(level), frames, level.kernel) for level, frames in levels]
    frames = [frame for frames in known for frame in frames]
    starts = range(0, len(frames), recipe.section)
    return [Block("", tuple(frames[start : start + recipe.section])) for start in starts]
