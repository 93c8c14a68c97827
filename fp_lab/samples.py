"""One function makes the packed sample, for training and for sampling.

An `Arrangement` says which frames are generated and which known frames land in which level. Training
draws arrangements from the plan that the sampler walks through, so both see the same inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from fp_lab.orders import Fill, Section, plan
from fp_lab.packing.importance import LevelSlots, assign_by_time
from fp_lab.packing.packer import require_packable
from fp_lab.recipe import BASE, Recipe
from fp_lab.shapes import ContextLevel, PackedSample

Missing = Literal["zero", "drop"]


@dataclass(frozen=True)
class Arrangement:
    """Frames to generate and the slots of every level."""

    targets: tuple[int, ...]
    slots: tuple[LevelSlots, ...]


@runtime_checkable
class ArrangementSource(Protocol):
    """Where training draws its arrangements from."""

    def draw(self, items: int, frames: int, generator: Generator) -> list[Arrangement]:
        """One arrangement per item, all of the same shape."""
        ...


def arrange(recipe: Recipe, section: Section, frames: int) -> Arrangement:
    """Assign a section's known frames to the recipe's levels, by time; see `require_packable`."""
    require_packable(recipe)
    return Arrangement(section.targets, assign_by_time(recipe, section, frames))


@dataclass(frozen=True)
class PlannedSections:
    """Sections of the plan that the sampler walks, each as likely as the plan has it.

    Attributes:
        recipe: compression and order.
        fill: how the endpoint order fills its gap; None for the way that the recipe's shape implies.
    """

    recipe: Recipe
    fill: Fill | None = None

    def draw(self, items: int, frames: int, generator: Generator) -> list[Arrangement]:
        """Draw sections; those of one batch have the same number of targets.

        Args:
            items: batch size.
            frames: length of the videos, latent frames.
            generator: source of randomness.
        """
        sections = plan(self.recipe, frames, fill=self.fill)
        if not sections:
            raise ValueError(f"videos of {frames} frames leave nothing to generate; use at least 2")
        first = sections[_integer(len(sections), generator)]
        same = [section for section in sections if len(section.targets) == len(first.targets)]
        chosen = [same[_integer(len(same), generator)] for _ in range(items)]
        return [arrange(self.recipe, section, frames) for section in chosen]


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

    def draw(self, items: int, frames: int, generator: Generator) -> list[Arrangement]:
        """Draw one arrangement per item; the number of known frames is shared by the batch."""
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


def assemble(latents: Tensor, arrangements: Sequence[Arrangement], missing: Missing = "drop") -> PackedSample:
    """Gather what an arrangement names from latents.

    Args:
        latents: ``b c t h w``; while sampling, frames that are not known yet may hold anything.
        arrangements: one per item, all of the same shape (or a single one for all items).
        missing: known frames that do not exist are ``zero`` latents at their virtual times, or are
            ``drop``-ped: the known ones come first and the last of them is repeated.

    Returns:
        The sample with `target` gathered from the same latents.
    """
    if len(arrangements) == 1:
        arrangements = list(arrangements) * len(latents)
    if len(arrangements) != len(latents):
        raise ValueError(
            f"got {len(arrangements)} arrangements for {len(latents)} videos, expected one per video"
        )
    times = torch.tensor([a.targets for a in arrangements], device=latents.device)
    levels = tuple(
        _level(latents, [a.slots[index] for a in arrangements], missing)
        for index in range(len(arrangements[0].slots))
    )
    return PackedSample(times, levels, _take(latents, times))


def _level(latents: Tensor, slots: Sequence[LevelSlots], missing: Missing) -> ContextLevel:
    device = latents.device
    if missing == "zero":
        times = torch.tensor([slot.frames for slot in slots], device=device)
        known = torch.tensor([slot.known for slot in slots], device=device)
        taken = _take(latents, times.clamp(0, latents.shape[2] - 1))
        taken = taken * known[:, None, :, None, None].to(taken.dtype)
        return ContextLevel(slots[0].kernel, taken, times, torch.ones_like(known))
    rows, flags = [], []
    for slot in slots:
        frames = [frame for frame, known_frame in zip(slot.frames, slot.known, strict=True) if known_frame]
        absent = len(slot.frames) - len(frames)
        flags.append([True] * len(frames) + [False] * absent)
        rows.append(frames + [frames[-1] if frames else 0] * absent)
    times = torch.tensor(rows, device=device)
    return ContextLevel(slots[0].kernel, _take(latents, times), times, torch.tensor(flags, device=device))


def _take(latents: Tensor, times: Tensor) -> Tensor:
    """Frames ``b c n h w`` at per-item times ``b n``."""
    item = torch.arange(len(latents), device=latents.device)[:, None]
    return latents.movedim(1, 2)[item, times].movedim(2, 1)


def _integer(high: int, generator: Generator) -> int:
    return int(torch.randint(high, (), generator=generator).item())
