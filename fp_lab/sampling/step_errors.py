"""Errors of single steps from true history: what a rollout would add up, measured without one.

Each section is predicted once from true frames at a fixed noise level, and compared with the truth. Error
analyses of autoregressive video diffusion bound the degradation of a rollout by the sum of such errors
(Meta-ARVDM, https://arxiv.org/abs/2503.10704); whether the sum predicts it is a claim, see docs/claims.md.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fp_lab.flow.matching import interpolate, to_velocity, velocity_loss, velocity_target
from fp_lab.model import FramePackModel
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import plan
from fp_lab.sampling.influence import per_sigma
from fp_lab.sampling.rollout import history_of
from fp_lab.sampling.seeds import seeded_noise
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.shapes import Caption


@torch.no_grad()
def velocity_errors(
    model: FramePackModel,
    recipe: Recipe,
    latents: Tensor,
    captions: Sequence[Caption],
    *,
    seeds: Sequence[int],
    sampling: SamplingConfig | None = None,
    given: int = 1,
    images: Tensor | None = None,
    batch: int = 16,
) -> Tensor:
    """Mean squared velocity error of every section of the plan, each from true history.

    What a section attends to is what the sampler gives it, with its switches but without guidance. At a noise
    level sigma the error of the predicted clean latents is sigma^2 times that of the velocity.

    Args:
        model: in evaluation mode.
        recipe: compression and order.
        latents: true videos ``b c t h w``.
        captions: of the videos.
        seeds: of the videos' noise, as the sampler draws it.
        sampling: plan and noise of the history; by default all defaults.
        given: number of frames that videos begin with.
        images: embeddings of the first frames ``b i e``, for backbones that take them.
        batch: number of videos at once.

    Returns:
        ``b sections`` in the order of generation; each video at one of `fp_lab.sampling.influence.SIGMAS`.
    """
    sampling = sampling or SamplingConfig()
    frames = latents.shape[2]
    sections = plan(recipe, frames, given=frozenset(range(given)), fill=sampling.fill)
    errors = torch.zeros(len(latents), len(sections))
    for sigma, items in per_sigma(len(latents), batch):
        true, own_seeds = latents[items], [seeds[item] for item in items]
        text = model.backbone.encode_text(
            [captions[item] for item in items],
            None if images is None else images[items],
            sampling.distilled_guidance,
        )
        known = history_of(model, recipe, sections, frames, true, own_seeds, sampling)
        if given:
            known.learn(range(given), true[:, :, :given], [text])
        for index, section in enumerate(sections):
            targets = list(section.targets)
            target = true[:, :, targets]
            noise = seeded_noise(own_seeds, index, target.shape[1:]).to(target)
            level = target.new_full((len(items),), sigma)
            noisy = interpolate(target, noise, level)
            (prepared,) = known.attended(index, section, [text]).under(sigma)
            velocity = to_velocity(model.denoise(noisy, level, prepared), noisy, level, model.output)
            truth = velocity_target(target, noise, level, model.output)
            errors[items, index] = velocity_loss(velocity.float(), truth.float()).cpu()
            known.learn(targets, target, [text])
    return errors
