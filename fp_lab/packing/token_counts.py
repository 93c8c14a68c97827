"""How many tokens a recipe costs: per level, for a section, as the history grows, and in the limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from fp_lab.packing.assignment import LevelSlots, assign
from fp_lab.packing.context import ContextConfig, Missing
from fp_lab.recipe import BASE, Kernel, Recipe, Run, Side
from fp_lab.recipe.orders import Fill, Section, plan

TAIL_POOL = 32  # latent rows and columns per pixel of a tail ta


@dataclass(frozen=True)
class ContextTokens:
    """Context tokens of one section.

    Attributes:
        levels: Tokens per level, in the order of ``assign_by_time``.
        tail: Tokens of the tails of both sides.
    """

    levels: tuple[int, ...]
    tail: int

    @property
    def total(self) -> int:
        """Context length in tokens, without the noisy section."""
        return sum(self.levels) + self.tail


@dataclass(frozen=True)
class PlacedSection:
    """A section in a video of ``length`` latent frames."""

    section: Section
    length: int


def kernel_tokens(frames: int, kernel: Kernel, height: int, width: int) -> int:
    """Tokens of so many frames at one kernel: ``ceil(n/kt) * ceil(h/kh) * ceil(w/kw)``.

    ``k16`` counts as (16,32,32), which is what its (2,2,2) average-pool and ``k8`` amount to.

    Args:
        frames: Latent frames, 0 or more.
        kernel: Latent frames, rows and columns per token.
        height: Latent rows.
        width: Latent columns.

    Returns:
        The number of tokens, replicate-padding counted.

    Raises:
        ValueError: A negative number of frames, or an empty frame.
    """
    if frames < 0 or height < 1 or width < 1:
        raise ValueError(
            f"got {frames} frames of {height}x{width} latents, expected 0 or more frames of at least 1x1"
        )
    # -(-a // b) is ceil(a / b) in integers
    return -(-frames // kernel.t) * -(-height // kernel.h) * -(-width // kernel.w)


def level_tokens(recipe: Recipe, height: int, width: int) -> tuple[int, ...]:
    """Tokens of every full level, left side's then right side's, at ``height`` x ``width`` latents."""
    return tuple(kernel_tokens(level.frames, level.kernel, height, width) for level in recipe.levels)


def section_tokens(recipe: Recipe, height: int, width: int) -> int:
    """Tokens of the noisy section, embedded at (1,2,2)."""
    return kernel_tokens(recipe.section, BASE, height, width)


def tail_tokens(side: Side, farthest: Kernel, frames: int, height: int, width: int) -> int:
    """Tokens of one side's tail.

    ``td`` and no tail cost nothing. ``ta`` pools each frame by (1,32,32) and encodes it with the farthest
    kernel: one token per frame while the pooled frame fits into the kernel. ``tc`` encodes the average of
    all tail frames: one frame, however many there are.

    Args:
        side: The side with its tail.
        farthest: Kernel of the side's outermost level.
        frames: Tail frames.
        height: Latent rows.
        width: Latent columns.
    """
    if side.tail == "ta":
        pooled = math.ceil(height / TAIL_POOL), math.ceil(width / TAIL_POOL)
        return frames * kernel_tokens(1, farthest, *pooled)
    if side.tail == "tc":
        return kernel_tokens(min(frames, 1), farthest, height, width)
    return 0


def packed_frames(slots: LevelSlots, missing: Missing) -> int:
    """Number of a level's frames that become tokens: the known ones, or all, as zeros."""
    return sum(slots.known) if missing == "drop" else len(slots.frames)


def context_tokens(
    recipe: Recipe,
    section: Section,
    length: int,
    height: int,
    width: int,
    context: ContextConfig | None = None,
) -> ContextTokens:
    """Tokens of the context of one section, packed by time.

    A level only partly filled counts ``ceil(known/kt)`` where missing frames are dropped. Where they are
    packed as zeros, masked or not, the levels always cost ``level_tokens``.

    Args:
        recipe: The levels and tails.
        section: Targets and known frames.
        length: Length of the video in latent frames.
        height: Latent rows.
        width: Latent columns.
        context: Options of the context; by default all defaults.
    """
    context = context or ContextConfig()
    assigned = assign(recipe, section, length, start_in_history=context.start_in_history)
    levels = tuple(
        kernel_tokens(packed_frames(slot, context.missing), slot.kernel, height, width)
        for slot in assigned.slots
    )
    kept = [side for side in (recipe.left, recipe.right) if side.tail in ("ta", "tc")]
    tail = sum(
        tail_tokens(side, slots.kernel, len(slots.frames), height, width)
        for side, slots in zip(kept, assigned.tails, strict=True)
    )
    return ContextTokens(levels, tail)


def context_length(recipe: Recipe, history: int, height: int, width: int) -> int:
    """Context tokens with ``history`` known frames, placed as by ``with_history``."""
    placed = with_history(recipe, history)
    return context_tokens(recipe, placed.section, placed.length, height, width).total


def context_limit(recipe: Recipe, height: int, width: int) -> int | None:
    """Context tokens that no history exceeds; ``None`` where a ``ta`` tail grows without bound."""
    if "ta" in (recipe.left.tail, recipe.right.tail):
        return None
    total = sum(level_tokens(recipe, height, width))
    # left to right is video time: the farthest level is the first on the left, the last on the right
    if recipe.left.tail == "tc":
        total += tail_tokens(recipe.left, recipe.left.levels[0].kernel, 1, height, width)
    if recipe.right.tail == "tc":
        total += tail_tokens(recipe.right, recipe.right.levels[-1].kernel, 1, height, width)
    return total


def with_history(recipe: Recipe, history: int) -> PlacedSection:
    """A section in the middle of the recipe's order, with so many known frames around it.

    Vanilla: all of them before the section. Inverted: the given frames (as many as the left side names, at
    least one) at the start, the rest after the section. Endpoint and planned: after one given frame the
    endpoints, as far as the levels name them, then the rest before the section. Where a side
    that is limited in this way has a tail, it holds one section of frames more.

    Args:
        recipe: Implies the order.
        history: Known frames, 0 or more.

    Raises:
        ValueError: A negative history.
    """
    if history < 0:
        raise ValueError(f"history: got {history}, expected 0 or more known frames")
    gap = recipe.section
    right_frames = sum(run.frames for run in recipe.right.runs)
    left = history
    if recipe.order == "inverted":
        given = sum(run.frames for run in recipe.left.runs) + (recipe.section if recipe.left.tail else 0)
        left = min(history, max(1, given))
    elif right_frames:
        room = right_frames + (recipe.section if recipe.right.tail else 0)
        # the first known frame is the given one, on the left; only then endpoints
        left = history - min(room, max(history - 1, 0))
    # x on the left stands for a gap of one section here
    apart = bool(right_frames and recipe.left.runs and not recipe.left.adjacent)
    first = left + (gap if apart else 0)
    targets = tuple(range(first, first + recipe.section))
    known = set(range(left))
    end = targets[-1] + 1
    rest = history - left
    if recipe.order == "inverted":
        known.update(range(end, end + rest))
        return PlacedSection(Section(targets, frozenset(known)), end + rest)
    for index, (run, frames) in enumerate(_nearest_first(recipe.right.runs, rest)):
        start = end if index == 0 and recipe.right.adjacent else end + gap
        end = start + max(run.frames, frames)
        # a nearer run starts at its first known frame, the outermost one ends with the video
        anchored = index > 0 and index == len(recipe.right.runs) - 1
        known.update(range(end - frames, end) if anchored else range(start, start + frames))
    return PlacedSection(Section(targets, frozenset(known)), end)


def _nearest_first(runs: Sequence[Run], frames: int) -> list[tuple[Run, int]]:
    """Every run with the frames it gets when the nearest is filled first; the last one gets all the rest."""
    shares = []
    for index, run in enumerate(runs):
        share = min(run.frames, frames) if index < len(runs) - 1 else frames
        shares.append((run, share))
        frames -= share
    return shares


def ideal_context_length(section: int, history: int, rate: float, frame_tokens: float) -> float:
    """``L = S*Lf + Lf * sum_{i<T} rate^-i`` (FramePack paper, section 3.1), the noisy section included.

    Args:
        section: ``S``, generated frames.
        history: ``T``, history frames.
        rate: ``lambda``, the compression from one frame to the next, at least 1.
        frame_tokens: ``Lf``, tokens of one frame at the base kernel.

    Raises:
        ValueError: A rate below 1.
    """
    if rate < 1:
        raise ValueError(f"rate: got {rate}, expected a compression rate of at least 1")
    return frame_tokens * (section + math.fsum(rate**-i for i in range(history)))


def ideal_limit(section: int, rate: float, frame_tokens: float) -> float:
    """``(S + rate/(rate-1)) * Lf``: the ideal context length of an endless history.

    Raises:
        ValueError: A rate of 1 or below, for which there is no limit.
    """
    if rate <= 1:
        raise ValueError(f"rate: got {rate}, expected above 1 (without compression the context has no limit)")
    return (section + rate / (rate - 1)) * frame_tokens


def tokens_per_sample(
    recipe: Recipe,
    fill: Fill | None,
    frames: int,
    rows: int,
    columns: int,
    context: ContextConfig | None = None,
) -> float:
    """Mean tokens of a section with its context, over the sections of a video.

    Args:
        recipe: levels and order.
        fill: of the endpoint order's gap, see `plan`.
        frames: length of the video, latent frames.
        rows: of the latents.
        columns: of the latents.
        context: options of the context; by default all defaults.
    """
    return fmean(
        kernel_tokens(len(section.targets), BASE, rows, columns)
        + context_tokens(recipe, section, frames, rows, columns, context).total
        for section in plan(recipe, frames, fill=fill)
    )
