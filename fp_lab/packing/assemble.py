"""One function makes the packed sample, for training and for sampling.

An `Arrangement` says which frames are generated and which known frames land in which level. Training
draws arrangements from the plan that the sampler walks through, so both see the same inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from fp_lab.checks.ranges import check_ranges
from fp_lab.packing.assignment import LevelSlots, TailSlots, assign
from fp_lab.packing.context import ContextConfig, Missing
from fp_lab.packing.importance import importance_of
from fp_lab.packing.packer import pool_tail_frames
from fp_lab.packing.positions import place
from fp_lab.recipe import BASE, Kernel, Recipe, Tail, parse
from fp_lab.recipe.lengths import trained_part
from fp_lab.recipe.orders import Fill, Section, plan
from fp_lab.shapes import ContextLevel, PackedSample


@dataclass(frozen=True)
class Arrangement:
    """Frames to generate, and the known frames of every level and tail.

    Attributes:
        targets: frames to generate.
        slots: frames of every level.
        tails: frames of the tails that keep them.
        times: positions of the targets, by default the targets.
    """

    targets: tuple[int, ...]
    slots: tuple[LevelSlots, ...]
    tails: tuple[TailSlots, ...] = ()
    times: tuple[int, ...] = ()

    def taken_from(self, held: Sequence[int]) -> "Arrangement":
        """The arrangement for latents of only these frames, in this order; times stay those of the video."""
        # targets and slots that are not held point at 0: nothing that is gathered there is used
        place = {frame: index for index, frame in enumerate(held)}

        def placed(frames: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(place.get(frame, 0) for frame in frames)

        return Arrangement(
            placed(self.targets),
            tuple(replace(slot, frames=placed(slot.frames), positions=slot.times) for slot in self.slots),
            tuple(replace(tail, frames=placed(tail.frames), positions=tail.times) for tail in self.tails),
            # indices of the video: rotary phases must not count places among the frames held
            self.times or self.targets,
        )

    @property
    def packed(self) -> frozenset[int]:
        """Frames that the context is made of."""
        slots = [
            frame
            for slot in self.slots
            for frame, there in zip(slot.frames, slot.known, strict=True)
            if there
        ]
        return frozenset(slots).union(*(tail.frames for tail in self.tails))


@runtime_checkable
class ArrangementSource(Protocol):
    """Where training draws its arrangements from."""

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        """One arrangement for each of the videos ``b c t h w``, all of the same shape."""
        ...


def arrange(
    recipe: Recipe,
    section: Section,
    frames: int,
    config: ContextConfig | None = None,
    importance: Sequence[float] | None = None,
) -> Arrangement:
    """Assign a section's known frames to the recipe's levels.

    Args:
        recipe: levels and tails.
        section: targets and known frames.
        frames: length of the video, latent frames.
        config: positions, and whether the first frame is packed twice; by default all defaults.
        importance: of every frame; None: by time.
    """
    config = config or ContextConfig()
    assignment = assign(recipe, section, frames, importance, start_in_history=config.start_in_history)
    times, placed = place(recipe, section, frames, assignment, config)
    return Arrangement(section.targets, placed.slots, placed.tails, times)


def arrange_videos(
    recipe: Recipe, sections: Sequence[Section], latents: Tensor, config: ContextConfig
) -> list[Arrangement]:
    """Arrangements of one section per video, each by its own importance.

    Args:
        recipe: levels and tails.
        sections: one per video, or one for all.
        latents: ``b c t h w``, of which known frames are looked at where importance is not by time.
        config: options.
    """
    frames = latents.shape[2]
    if config.importance.kind == "time":
        return [arrange(recipe, section, frames, config) for section in sections]
    if len(sections) == 1:
        sections = list(sections) * len(latents)
    values = importance_of(latents, sections, config.importance)
    return [
        arrange(recipe, section, frames, config, row) for section, row in zip(sections, values, strict=True)
    ]


@dataclass(frozen=True)
class PlannedSections:
    """Sections of the plan that the sampler walks, each as likely as the plan has it.

    A window of whole sections behind its first frame gives whole sections whatever number of frames is drawn
    as given: a remainder at its end is left out, as it is from videos of that length.

    Attributes:
        recipe: compression and order.
        fill: how the endpoint order fills its gap; None for the way that the recipe's shape implies.
        given: how many frames a video begins with; of several numbers each batch draws one.
    """

    recipe: Recipe
    fill: Fill | None = None
    given: tuple[int, ...] = (1,)

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        """Draw sections; those of one batch have the same number of targets.

        Args:
            latents: videos ``b c t h w``.
            config: options of the context.
            generator: source of randomness.
        """
        items, frames = len(latents), latents.shape[2]
        given = self.given[_integer(len(self.given), generator) if len(self.given) > 1 else 0]
        sections = self.sections(frames, given)
        # a section first, then others of its length: one shape per batch, and the endpoint order's call of
        # two sections is drawn in the proportion of the plan
        first = sections[_integer(len(sections), generator)]
        same = [section for section in sections if len(section.targets) == len(first.targets)]
        chosen = [same[_integer(len(same), generator)] for _ in range(items)]
        # the video ends where its plan does: the outermost run on the right is anchored at its last frame
        part = latents[:, :, : trained_part(self.recipe.section, frames, given)]
        return arrange_videos(self.recipe, chosen, part, config)

    def sections(self, frames: int, given: int) -> tuple[Section, ...]:
        """Sections to draw from, for videos of a length that begin with a number of given frames.

        Raises:
            ValueError: nothing is left to generate.
        """
        if given >= frames:
            raise ValueError(
                f"videos of {frames} frames, of which {given} are given, leave nothing to generate; use at "
                f"least {given + 1}"
            )
        length = trained_part(self.recipe.section, frames, given)
        return plan(self.recipe, length, given=frozenset(range(given)), fill=self.fill)

    def short_share(self, frames: int) -> float:
        """Share of the draws from videos of so many frames whose section is shorter than the recipe's."""
        drawn = [self.sections(frames, given) for given in self.given]
        return fmean(fmean(len(s.targets) % self.recipe.section > 0 for s in sections) for sections in drawn)


@dataclass(frozen=True)
class FreeSections:
    """Arrangements for the base: a section and uncompressed known frames anywhere around it.

    Attributes:
        section: frames per section.
        known: at most this many known frames.
        unconditional: share of batches without known frames; else each number from 1 to `known` is as likely.
        double: share of batches that generate two sections at once (as the endpoint order's first call does).
        nearest: probability that the next known frame is the nearest one left on a side of the section; any
            other frame otherwise. Each item draws its sides: only before, only after, or both alike.
    """

    section: int = 9
    known: int = 6
    unconditional: float = 0.05
    double: float = 0.05
    nearest: float = 0.8

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        shares = dict.fromkeys(("unconditional", "double", "nearest"), "[0, 1]")
        check_ranges("sections.free", self, section="[1, inf)", known="[1, inf)", **shares)

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        """Draw one arrangement per item; the number of known frames is shared by the batch."""
        items, frames = len(latents), latents.shape[2]
        blocks = 2 if torch.rand((), generator=generator).item() < self.double else 1
        if frames < blocks * self.section + self.known:
            raise ValueError(
                f"videos of {frames} frames cannot hold {blocks} sections of {self.section} and "
                f"{self.known} known frames; use at least {2 * self.section + self.known} frames"
            )
        alone = torch.rand((), generator=generator).item() < self.unconditional
        known = 0 if alone else 1 + _integer(self.known, generator)
        return [self._one(frames, blocks, known, generator) for _ in range(items)]

    def _one(self, frames: int, blocks: int, known: int, generator: Generator) -> Arrangement:
        slack = frames - blocks * self.section
        # starts are drawn on a line from which the sections are cut out, so that two never overlap
        starts = sorted(_integer(slack + 1, generator) for _ in range(blocks))
        targets = tuple(
            start + block * self.section + i
            for block, start in enumerate(starts)
            for i in range(self.section)
        )
        before = list(range(targets[0]))[::-1]
        after = list(range(targets[-1] + 1, frames))
        others = [
            frame for frame in range(frames) if targets[0] < frame < targets[-1] and frame not in targets
        ]
        # probability that a nearest frame is one before the section: 0, 1/2 or 1
        lean = _integer(3, generator) / 2
        chosen: list[int] = []
        while len(chosen) < known:
            draw, side = torch.rand(2, generator=generator).tolist()
            pool = before if side < lean else after
            left = before + after + others
            frame = pool[0] if pool and draw < self.nearest else left[_integer(len(left), generator)]
            chosen.append(frame)
            for pool in (before, after, others):
                if frame in pool:
                    pool.remove(frame)
        slots = (LevelSlots(BASE, tuple(sorted(chosen)), (True,) * known),) if known else ()
        return Arrangement(targets, slots)


@dataclass(frozen=True)
class MixedSections:
    """Arrangements of several recipes, one recipe per batch, for a base that knows packed context.

    Attributes:
        recipes: names, equally likely.
        free: source of arrangements of uncompressed frames.
        share: share of batches that are drawn from `free`.
    """

    recipes: tuple[str, ...] = ()
    free: FreeSections = field(default_factory=FreeSections)
    share: float = 0.3

    def __post_init__(self) -> None:
        """Read the recipes.

        Raises:
            RecipeError: one cannot be read.
        """
        check_ranges("sections", self, share="[0, 1]")
        for name in self.recipes:
            parse(name)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel that is trained, the base kernel first."""
        levels = (level.kernel for name in self.recipes for level in parse(name).levels)
        return tuple(dict.fromkeys((BASE, *levels)))

    def draw(self, latents: Tensor, config: ContextConfig, generator: Generator) -> list[Arrangement]:
        """Draw one arrangement per item, all of the same recipe."""
        if not self.recipes or torch.rand((), generator=generator).item() < self.share:
            return self.free.draw(latents, config, generator)
        recipe = parse(self.recipes[_integer(len(self.recipes), generator)])
        return PlannedSections(recipe).draw(latents, config, generator)


def assemble(
    latents: Tensor,
    arrangements: Sequence[Arrangement],
    missing: Missing = "drop",
    history: Tensor | None = None,
) -> PackedSample:
    """Gather the section and the context of each arrangement from latents.

    Args:
        latents: ``b c t h w``; while sampling, frames that are not known yet may hold anything.
        arrangements: one per item, all of the same shape (or a single one for all items).
        missing: history frames that do not exist are ``zero`` latents at their virtual times; or are
            ``drop``-ped: the known ones come first and the last of them is repeated; or are zero latents
            whose tokens count as unknown (``mask``), as far as no known frame shares them.
        history: latents ``b c t h w`` that the context is gathered from, such as discretised or noisy ones;
            None: `latents`.

    Returns:
        The sample with `target` gathered from the latents.
    """
    if len(arrangements) == 1:
        arrangements = list(arrangements) * len(latents)
    if len(arrangements) != len(latents):
        raise ValueError(
            f"got {len(arrangements)} arrangements for {len(latents)} videos, expected one per video"
        )
    history = latents if history is None else history
    device = latents.device
    first = arrangements[0]
    targets = torch.tensor([a.targets for a in arrangements], device=device)
    times = torch.tensor([a.times or a.targets for a in arrangements], device=device)
    levels = [
        _level(history, [a.slots[index] for a in arrangements], missing) for index in range(len(first.slots))
    ]
    tails = [_tail(history, [a.tails[index] for a in arrangements]) for index in range(len(first.tails))]
    # targets are never those of the history: they stay continuous and clean
    return PackedSample(times, (*levels, *tails), take(latents, targets))


def _level(latents: Tensor, slots: Sequence[LevelSlots], missing: Missing) -> ContextLevel:
    if missing == "drop":
        known = [
            [pair for pair, there in zip(_pairs(slot), slot.known, strict=True) if there] for slot in slots
        ]
        # known frames move to the front, so that n of them take ceil(n / kt) tokens; at their places they
        # could share a token with frames that do not exist
        rows = _Rows.of(known, len(slots[0].frames), latents.device)
        return rows.level(take(latents, rows.frames), slots[0].kernel, None, latents)
    device = latents.device
    frames = torch.tensor([slot.frames for slot in slots], device=device)
    times = torch.tensor([slot.times for slot in slots], device=device)
    there = torch.tensor([slot.known for slot in slots], device=device)
    # zeros through the projection, as in the released inference; virtual times may be negative or beyond the
    # end
    taken = take(latents, frames.clamp(0, latents.shape[2] - 1)).where(there[:, None, :, None, None], 0)
    rows = _Rows(frames, times, torch.ones_like(there) if missing == "zero" else there)
    return rows.level(taken, slots[0].kernel, None, latents)


def _tail(latents: Tensor, tails: Sequence[TailSlots]) -> ContextLevel:
    """Frames of a tail: each pooled (``ta``), or their average (``tc``)."""
    pairs = [_pairs(tail) for tail in tails]
    rows = _Rows.of(pairs, max(1, *map(len, pairs)), latents.device)
    kernel, kind = tails[0].kernel, tails[0].tail
    if kind == "ta":
        return rows.level(pool_tail_frames(take(latents, rows.frames)), kernel, kind, latents)
    share = (rows.known / rows.known.sum(1, keepdim=True).clamp_min(1)).to(latents)
    weights = latents.new_zeros(len(latents), latents.shape[2]).scatter_add_(1, rows.frames, share)
    # a product with all frames: nothing is gathered, so a long tail costs one read and no memory
    mean = (weights[:, None, None] @ latents.flatten(3)).unflatten(3, latents.shape[-2:])
    return rows.level(mean, kernel, kind, latents)


@dataclass(frozen=True)
class _Rows:
    """Frames to gather, their positions, and which of them count, each ``b n``."""

    frames: Tensor
    times: Tensor
    known: Tensor

    @classmethod
    def of(cls, pairs: Sequence[Sequence[tuple[int, int]]], width: int, device: torch.device) -> "_Rows":
        """Rows of (frame, position), filled up to a width with copies of the last that do not count."""
        # the last frame with its position: a token that is filled in part is padded as by `pad_to_kernel`
        filled = [[*row, *[row[-1] if row else (0, 0)] * (width - len(row))] for row in pairs]
        both = torch.tensor(filled, device=device)
        lengths = torch.tensor([len(row) for row in pairs], device=device)
        known = torch.arange(width, device=device) < lengths[:, None]
        return cls(both[..., 0], both[..., 1], known)

    def level(self, taken: Tensor, kernel: Kernel, tail: Tail | None, latents: Tensor) -> ContextLevel:
        """These frames as a level of the context."""
        # not of `taken`: a tail ta is pooled, and its phases are made from the whole frame
        rows, columns = latents.shape[-2:]
        return ContextLevel(kernel, taken, self.times, self.known, tail, (rows, columns))


def _pairs(slots: LevelSlots | TailSlots) -> list[tuple[int, int]]:
    return list(zip(slots.frames, slots.times, strict=True))


def take(latents: Tensor, times: Tensor) -> Tensor:
    """Frames ``b c n h w`` at per-item times ``b n``."""
    item = torch.arange(len(latents), device=latents.device)[:, None]
    return latents.movedim(1, 2)[item, times].movedim(2, 1)


def _integer(high: int, generator: Generator) -> int:
    return int(torch.randint(high, (), generator=generator).item())
