"""Influence of the context's levels: how much a prediction changes when a level comes from another video.

For each level R is E|v(x | history) - v(x | history with that level from another video)|^2, divided by the
same difference with all levels from another video (the paired-history control). It needs no rollout.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.flow.history_noise import with_noise
from fp_lab.flow.matching import interpolate, to_velocity
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange_videos, assemble
from fp_lab.recipe import Kernel, Recipe, Tail
from fp_lab.recipe.orders import plan
from fp_lab.sampling.rollout import history_of
from fp_lab.sampling.section_context import PackedHistory
from fp_lab.sampling.seeds import seeded_noise
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.shapes import Caption, ContextLevel, TextCondition

SIGMAS = (0.95, 0.8, 0.5)
"""Noise levels at which predictions are compared: where a section's content is decided."""


@dataclass(frozen=True)
class LevelInfluence:
    """Influence of one level.

    Attributes:
        name: of the level, see `level_names`.
        kernel: latent frames, rows and columns per token.
        tail: which tail it is; None for a level of the name.
        frames: that it holds.
        ratios: R of each video ``b``, at least 0: 1 where the level does as much as all of them together, 0
            where the model reads nothing of it.
        noise: the same ``b`` where the level is only perturbed, see `level_influence`.
    """

    name: str
    kernel: Kernel
    tail: Tail | None
    frames: int
    ratios: Tensor
    noise: Tensor


def level_names(recipe: Recipe) -> tuple[str, ...]:
    """Names of a recipe's levels, left to right, and of its tails: ``f2k2``, or ``f2k2 after`` of two sides.

    They are unique, of letters, digits and blanks alone.
    """
    sides = {"before": recipe.left, "after": recipe.right}
    levels = [(str(level), side) for side, own in sides.items() for level in own.levels]
    levels += [(f"tail {own.tail}", side) for side, own in sides.items() if own.tail in ("ta", "tc")]
    often, places = Counter(levels), Counter[tuple[str, str]]()
    shared = Counter(text for text, _ in often)
    names = []
    for text, side in levels:
        places[text, side] += 1
        sided = f"{text} {side}" if shared[text] > 1 else text
        names.append(f"{sided} {places[text, side]}" if often[text, side] > 1 else sided)
    return tuple(names)


def per_sigma(videos: int, batch: int) -> Iterator[tuple[float, list[int]]]:
    """Split videos into batches of one noise level: every video has one of `SIGMAS`, in turn.

    Three times the videos at the cost of all levels for each: what differs between videos is the larger part.
    """
    for number, sigma in enumerate(SIGMAS):
        own = list(range(number, videos, len(SIGMAS)))
        yield from ((sigma, own[begin : begin + batch]) for begin in range(0, len(own), batch))


@torch.no_grad()
def level_influence(
    model: FramePackModel,
    recipe: Recipe,
    latents: Tensor,
    captions: Sequence[Caption],
    perturbed: Tensor,
    *,
    seeds: Sequence[int],
    sampling: SamplingConfig | None = None,
    given: int = 1,
    images: Tensor | None = None,
    batch: int = 16,
) -> tuple[LevelInfluence, ...]:
    """Influence of every level on the section with the longest history in the plan of a recipe.

    Histories are discretised where the model has a codebook; noise and switches are the sampler's.

    Args:
        model: with projections of the recipe's kernels, in evaluation mode.
        recipe: with a history.
        latents: at least two videos ``b c t h w``; each gets the levels of the one before.
        captions: of the videos.
        perturbed: the same videos with a difference that should not matter, such as a second round trip
            through the codec; levels from it give the noise.
        seeds: of the videos' noise, as the sampler draws it; the same for all comparisons.
        sampling: plan, noise of the history and switches; by default all defaults.
        given: number of frames that videos begin with.
        images: embeddings of the first frames ``b i e``, for backbones that take them.
        batch: number of videos at once.

    Raises:
        ValueError: fewer than two videos, or no packed history.
    """
    blocks = model.context.attention == "block_causal"
    if len(latents) < 2 or recipe.order == "none" or blocks:
        raise ValueError(
            f"got {len(latents)} videos, a recipe of order {recipe.order!r} and attention "
            f"{model.context.attention!r}, expected at least two videos and a recipe with a packed history"
        )
    sampling = sampling or SamplingConfig()
    sections = plan(recipe, latents.shape[2], given=frozenset(range(given)), fill=sampling.fill)
    index, section = max(enumerate(sections), key=lambda one: len(one[1].known))
    # discretised first and averaged by tails then, as in sampling; packing discretises once more
    own, again = model.history(latents), model.history(perturbed)
    other = own.roll(1, 0)
    names = level_names(recipe)
    ratios, noises = torch.zeros(2, len(names), len(latents), device=latents.device)
    held = [0] * len(names)
    kinds: list[ContextLevel] = []
    for sigma, items in per_sigma(len(latents), batch):
        own_seeds = [seeds[item] for item in items]
        known = history_of(model, recipe, sections, latents.shape[2], latents[items], own_seeds, sampling)
        assert isinstance(known, PackedHistory)
        arrangements = arrange_videos(recipe, [section], own[items], known.context)
        sample, swapped, same = (
            assemble(latents[items], arrangements, model.context.missing, history[items])
            for history in (own, other, again)
        )
        target = sample.target
        drawn = seeded_noise(own_seeds, index, target.shape[1:]).to(target)
        level = target.new_full((len(items),), sigma)
        text = model.backbone.encode_text(
            [captions[item] for item in items],
            None if images is None else images[items],
            sampling.distilled_guidance,
        )
        noisy = interpolate(target, drawn, level)
        look = _Look(known, noisy, sample.times, level, text)
        unchanged = look.velocity(sample.context)
        everything = look.change(swapped.context, unchanged)
        for place, kind in enumerate(sample.context):
            # what nothing changes is not read: 0, and not 0 / 0
            for found, source in ((ratios, swapped.context), (noises, same.context)):
                mixed = [*sample.context[:place], source[place], *sample.context[place + 1 :]]
                change = look.change(mixed, unchanged)
                found[place, items] = torch.where(everything > 0, change / everything, 0.0)
            held[place] = max(held[place], int(kind.known.sum(1).max()))
        kinds = list(sample.context)
    return tuple(
        LevelInfluence(name, kind.kernel, kind.tail, frames, ratio.cpu(), noise.cpu())
        for name, kind, frames, ratio, noise in zip(names, kinds, held, ratios, noises, strict=True)
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """Predictions of one noisy section from different contexts: a difference is the context's alone."""

    known: PackedHistory
    noisy: Tensor
    times: Tensor
    level: Tensor
    text: TextCondition

    def velocity(self, context: Sequence[ContextLevel]) -> Tensor:
        """Velocity ``b c t h w``, float32."""
        known, model, levels = self.known, self.known.model, None
        if model.context.timestep == "level":
            levels = known.level * self.level
            # numbers that no section has; the same noise whatever video a level is from
            noises = [
                seeded_noise(known.seeds, -1 - place, part.latents.shape[1:]).to(part.latents)
                for place, part in enumerate(context)
            ]
            context = with_noise(tuple(context), levels, noises)
        packed = known.biased(model.pack(tuple(context), levels, **known.other), self.times)
        size, memory = (self.noisy.shape[-2], self.noisy.shape[-1]), model.memory_of(packed, self.text)
        section = model.prepare(self.times, size, self.text, memory, **known.other)
        predicted = model.denoise(self.noisy, self.level, section)
        return to_velocity(predicted, self.noisy, self.level, model.output).float()

    def change(self, context: Sequence[ContextLevel], unchanged: Tensor) -> Tensor:
        """Mean squared difference ``b`` to another velocity."""
        return (self.velocity(context) - unchanged).square().flatten(1).mean(1)
