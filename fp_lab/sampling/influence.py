"""Influence of the context's levels: how much a prediction changes when a level comes from another video.

For each level R is E|v(x | history) - v(x | history with that level from another video)|^2, divided by the
same difference with all levels from another video (the paired-history control). It needs no rollout.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.flow.matching import interpolate, to_velocity
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange_videos, assemble
from fp_lab.recipe import Kernel, Recipe, Tail
from fp_lab.recipe.orders import plan
from fp_lab.shapes import Caption, ContextLevel

SIGMAS = (0.95, 0.8, 0.5)
"""Noise levels at which predictions are compared: where a section's content is decided."""


@dataclass(frozen=True)
class LevelInfluence:
    """Influence of one level.

    Attributes:
        kernel: latent frames, rows and columns per token.
        tail: which tail it is; None for a level of the name.
        frames: that it holds.
        ratios: R of each video ``b``, at least 0: 1 where the level does as much as all of them together.
        noise: the same ``b`` where the level is only perturbed, see `level_influence`.
    """

    kernel: Kernel
    tail: Tail | None
    frames: int
    ratios: Tensor
    noise: Tensor


@torch.no_grad()
def level_influence(
    model: FramePackModel,
    recipe: Recipe,
    latents: Tensor,
    captions: Sequence[Caption],
    perturbed: Tensor,
    *,
    generator: torch.Generator,
    sigmas: Sequence[float] = SIGMAS,
) -> tuple[LevelInfluence, ...]:
    """Influence of every level on the section with the longest history in the plan of a recipe.

    Args:
        model: with projections of the recipe's kernels.
        recipe: with a history.
        latents: at least two videos ``b c t h w``; each gets the levels of the next one.
        captions: of the videos.
        perturbed: the same videos with a difference that should not matter, such as a second round trip
            through the codec; levels from it give the noise.
        generator: a CPU generator for the sections' noise, the same for all comparisons.
        sigmas: noise levels, averaged over.

    Raises:
        ValueError: fewer than two videos, or a recipe without history.
    """
    if len(latents) < 2 or recipe.order == "none":
        raise ValueError(
            f"got {len(latents)} videos and a recipe of order {recipe.order!r}, expected at least two videos "
            "and a recipe with a history"
        )
    sections = plan(recipe, latents.shape[2])
    section = max(sections, key=lambda one: len(one.known))
    arrangements = arrange_videos(recipe, [section], latents, model.context)
    own, other, same = (
        assemble(videos, arrangements, model.context.missing)
        for videos in (latents, latents.roll(1, 0), perturbed)
    )
    noise = torch.randn(own.target.shape, generator=generator).to(latents)
    text = model.backbone.encode_text(list(captions))

    def velocities(context: Sequence[ContextLevel]) -> Tensor:
        # the same noise and levels for every context: a difference is then the context's alone
        packed = model.memory_of(model.pack(tuple(context)), text)
        found = []
        for sigma in sigmas:
            levels = torch.full((len(latents),), sigma).to(latents)
            noisy = interpolate(own.target, noise, levels)
            prediction = model(noisy, own.times, levels, text, packed)
            found.append(to_velocity(prediction, noisy, levels, model.output))
        return torch.stack(found, 1)

    def change(context: Sequence[ContextLevel]) -> Tensor:
        return (velocities(context) - unchanged).square().flatten(1).mean(1)

    unchanged = velocities(own.context)
    everything = change(other.context)

    def swapped(index: int, source: Sequence[ContextLevel]) -> list[ContextLevel]:
        return [source[index] if i == index else level for i, level in enumerate(own.context)]

    return tuple(
        LevelInfluence(
            level.kernel,
            level.tail,
            int(level.known[0].sum()),
            change(swapped(index, other.context)) / everything,
            change(swapped(index, same.context)) / everything,
        )
        for index, level in enumerate(own.context)
    )
