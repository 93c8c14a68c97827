"""What the picture of a name shows, as data: which frames each call of the plan packs, and into which tokens.

`fp_lab.lab.report.pictures.recipe` draws it.
"""

from dataclasses import dataclass
from typing import Literal

from fp_lab.explain.explanation import Explanation, Placement, explain, placements
from fp_lab.packing.assignment import assign_by_time, tail_by_time
from fp_lab.packing.token_counts import (
    context_length,
    context_tokens,
    tail_tokens,
)
from fp_lab.recipe import Kernel, Recipe, Tail, parse
from fp_lab.recipe.orders import Section, implied_fill, plan, prompts_of

BoxKind = Literal["level", "tail", "generated", "dropped", "unknown"]
SHOWN = 6
"""Calls in a picture, at most."""
LONGEST_HISTORY = 4096
"""Frames up to which the length of the context is followed."""


@dataclass(frozen=True)
class Box:
    """Frames drawn as one.

    Attributes:
        kind: ``level`` and ``tail`` are context; ``dropped`` frames are known, but in no token.
        frames: those of one token in time, ascending; they need not be contiguous. One frame for the kinds
            that are no context.
        kernel: of the context's tokens.
        placement: of the level's run; None for what is in no level.
    """

    kind: BoxKind
    frames: tuple[int, ...]
    kernel: Kernel | None = None
    placement: Placement | None = None


@dataclass(frozen=True)
class Share:
    """Context tokens of one level, or of the tails."""

    kernel: Kernel
    kind: Literal["level", "tail"]
    tokens: int


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes:
        call: its number from 1.
        prompt: number from 1 of the prompt that drives it; None where the video has one prompt.
        boxes: every frame of the video once, by the first frame of the box.
        shares: of the context, left to right in video time, tails outermost.
    """

    call: int
    prompt: int | None
    boxes: tuple[Box, ...]
    shares: tuple[Share, ...]

    @property
    def tokens(self) -> int:
        """Length of the context."""
        return sum(share.tokens for share in self.shares)


@dataclass(frozen=True)
class Structure:
    """A recipe and what its calls look like.

    Attributes:
        recipe: of the name.
        explanation: its levels, tokens and order.
        calls: of the whole plan.
        rows: the first calls, one in the middle, the last; at most `SHOWN`.
        lengths: history frames and the context tokens they make, up to `LONGEST_HISTORY` frames.
    """

    recipe: Recipe
    explanation: Explanation
    calls: int
    rows: tuple[Row, ...]
    lengths: tuple[tuple[int, int], ...]


def structure(name: str, height: int = 60, width: int = 104, frames: int | None = None) -> Structure:
    """Work out the picture of a name.

    Args:
        name: An ablation name, not necessarily canonical.
        height: Latent rows, at least 1.
        width: Latent columns, at least 1.
        frames: Length of the example video in latent frames; by default long enough for every level to fill.

    Raises:
        RecipeError: The name cannot be read.
        ValueError: A size below 1, or a video of one frame, which is given: nothing is generated.
    """
    recipe, explanation = parse(name), explain(name, height, width, frames)
    sections = plan(recipe, explanation.frames, fill=implied_fill(recipe))
    if not sections:
        raise ValueError(f"frames: got {explanation.frames}, expected at least 2: the first one is given")
    return Structure(
        recipe=recipe,
        explanation=explanation,
        calls=len(sections),
        rows=tuple(
            row_of(recipe, call, sections[call - 1], explanation.frames, height, width)
            for call in shown_calls(len(sections))
        ),
        lengths=tuple((n, context_length(recipe, n, height, width)) for n in _histories()),
    )


def shown_calls(calls: int) -> tuple[int, ...]:
    """Numbers of the calls that are drawn: all, or the first three, the middle one and the last two."""
    if calls <= SHOWN:
        return tuple(range(1, calls + 1))
    return (1, 2, 3, calls // 2 + 1, calls - 1, calls)


def row_of(recipe: Recipe, call: int, section: Section, length: int, height: int, width: int) -> Row:
    """Sort the frames of a video into boxes, as one call packs them.

    A level joins its known frames from the first on, as many as its kernel spans; the last box may be short.

    Args:
        recipe: The levels and tails.
        call: Number of the call.
        section: Its targets and known frames.
        length: Length of the video in latent frames.
        height: Latent rows.
        width: Latent columns.
    """
    boxes = [Box("generated", (frame,)) for frame in section.targets]
    shares: list[Share] = []
    counts = context_tokens(recipe, section, length, height, width).levels
    slots = assign_by_time(recipe, section, length)
    for slot, placement, tokens in zip(slots, placements(recipe), counts, strict=True):
        known = [frame for frame, is_known in zip(slot.frames, slot.known, strict=True) if is_known]
        for start in range(0, len(known), slot.kernel.t):
            boxes.append(Box("level", tuple(known[start : start + slot.kernel.t]), slot.kernel, placement))
        shares.append(Share(slot.kernel, "level", tokens))
    beyond = tail_by_time(recipe, section, length)
    if recipe.left.tail in ("ta", "tc") and beyond.left:
        farthest = recipe.left.levels[0].kernel
        boxes += _tail_boxes(recipe.left.tail, farthest, beyond.left)
        tokens = tail_tokens(recipe.left, farthest, len(beyond.left), height, width)
        shares.insert(0, Share(farthest, "tail", tokens))
    if recipe.right.tail in ("ta", "tc") and beyond.right:
        farthest = recipe.right.levels[-1].kernel
        boxes += _tail_boxes(recipe.right.tail, farthest, beyond.right)
        tokens = tail_tokens(recipe.right, farthest, len(beyond.right), height, width)
        shares.append(Share(farthest, "tail", tokens))
    boxed = {frame for box in boxes for frame in box.frames}
    for frame in sorted(set(range(length)) - boxed):
        boxes.append(Box("dropped" if frame in section.known else "unknown", (frame,)))
    boxes.sort(key=lambda box: box.frames)
    prompt = section.prompt + 1 if prompts_of(recipe) > 1 else None
    return Row(call, prompt, tuple(boxes), tuple(share for share in shares if share.tokens))


def _tail_boxes(tail: Tail, farthest: Kernel, frames: tuple[int, ...]) -> list[Box]:
    """``ta`` makes tokens of every frame, ``tc`` of the average of all."""
    groups = [frames] if tail == "tc" else [(frame,) for frame in frames]
    return [Box("tail", group, farthest) for group in groups]


def _histories() -> tuple[int, ...]:
    """Every length at first, then about forty to a decade."""
    steps = {round(10 ** (step / 40)) for step in range(4 * 40) if 10 ** (step / 40) < LONGEST_HISTORY}
    return tuple(sorted(steps | {LONGEST_HISTORY}))
