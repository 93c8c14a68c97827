"""Sampling: for every section of the plan, pack the context, solve, place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from fp_lab.flow import Shift, schedule, shift_for, to_velocity
from fp_lab.model import FramePackModel
from fp_lab.orders import Fill, Section, plan
from fp_lab.recipe import Recipe
from fp_lab.samples import Missing, arrange, assemble
from fp_lab.shapes import PackedContext, PackedSample, TextCondition
from fp_lab.solvers import SOLVERS, SolverConfig


@dataclass(frozen=True)
class SamplingConfig:
    """How sections are generated.

    Attributes:
        solver: which one, and its steps.
        guidance: classifier-free guidance scale s of v_n + s (v_p - v_n); 1 samples without it.
        rescale: share of guidance rescale (https://arxiv.org/abs/2305.08891, section 3.4).
        shift: token count that drives the shift of times.
        missing: treatment of history that does not exist.
        fill: how the endpoint order fills its gap; None for the way that the recipe's shape implies.
    """

    solver: SolverConfig = field(default_factory=SolverConfig)
    guidance: float = 1.0
    rescale: float = 0.0
    shift: Shift = "section"
    missing: Missing = "drop"
    fill: Fill | None = None


@dataclass(frozen=True)
class RolledSection:
    """A finished section: its place in the plan and its latents ``b c t h w``."""

    index: int
    section: Section
    latents: Tensor


@torch.no_grad()
def rollout(
    model: FramePackModel,
    recipe: Recipe,
    first: Tensor,
    *,
    frames: int,
    captions: Sequence[str],
    seeds: Sequence[int],
    sampling: SamplingConfig,
    history: Tensor | None = None,
) -> Iterator[RolledSection]:
    """Generate videos section by section, yielding each as soon as it is done.

    Args:
        model: in evaluation mode.
        recipe: compression and order.
        first: the given first frame, latents ``b c 1 h w``.
        frames: length of the videos, latent frames.
        captions: one per video.
        seeds: one per video; a video's noise depends on its seed and section alone, not on the batch.
        sampling: solver, guidance and options.
        history: true latents ``b c frames h w`` to take every context from (teacher forcing); by default
            the context is what the model itself has made.

    Yields:
        Sections in generation order.

    Raises:
        ValueError: if captions, seeds or history do not fit the batch and the length.
    """
    batch, channels, _, rows, columns = first.shape
    if not batch == len(captions) == len(seeds):
        raise ValueError(
            f"got {batch} first frames, {len(captions)} captions and {len(seeds)} seeds, expected as many"
        )
    if history is not None and history.shape[2] != frames:
        raise ValueError(f"true history has {history.shape[2]} frames, expected {frames}")
    canvas = first.new_zeros(batch, channels, frames, rows, columns)
    canvas[:, :, :1] = first
    prompts = model.backbone.encode_text(captions)
    empty = model.backbone.encode_text([""] * batch) if sampling.guidance != 1 else None
    for index, section in enumerate(plan(recipe, frames, fill=sampling.fill)):
        source = canvas if history is None else history
        sample = assemble(source, [arrange(recipe, section, frames)], sampling.missing)
        context = model.pack(sample.context)
        noise = _noise(seeds, index, (channels, len(section.targets), rows, columns)).to(first)
        video_tokens = model.section_tokens(frames, rows, columns)
        latents = _solve(model, sample, context, noise, prompts, empty, sampling, video_tokens)
        canvas[:, :, list(section.targets)] = latents
        yield RolledSection(index, section, latents)


def _solve(
    model: FramePackModel,
    sample: PackedSample,
    context: PackedContext | None,
    noise: Tensor,
    prompts: TextCondition,
    empty: TextCondition | None,
    sampling: SamplingConfig,
    video_tokens: int,
) -> Tensor:
    tokens = model.section_tokens(noise.shape[2], *noise.shape[-2:])
    sigmas = schedule(sampling.solver.steps, shift_for(sampling.shift, tokens, video_tokens))

    def velocity_under(text: TextCondition, x: Tensor, sigma: float) -> Tensor:
        levels = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
        return to_velocity(model(x, sample.times, levels, text, context), x, levels, model.output)

    def velocity(x: Tensor, sigma: float) -> Tensor:
        prompted = velocity_under(prompts, x, sigma)
        if empty is None:
            return prompted
        return guide(prompted, velocity_under(empty, x, sigma), sampling.guidance, sampling.rescale)

    return SOLVERS[sampling.solver.name](velocity, noise, sigmas)


def guide(prompted: Tensor, unprompted: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance v_n + s (v_p - v_n), optionally rescaled towards the spread of v_p."""
    guided = unprompted + scale * (prompted - unprompted)
    if not rescale:
        return guided
    dims = tuple(range(1, guided.ndim))
    matched = guided * (prompted.std(dims, keepdim=True) / guided.std(dims, keepdim=True))
    return rescale * matched + (1 - rescale) * guided


def _noise(seeds: Sequence[int], section: int, shape: tuple[int, ...]) -> Tensor:
    """Noise of one section, each video from its own seed; made on the CPU, so devices agree."""
    generators = [Generator().manual_seed((seed * 1_000_003 + section) % 2**63) for seed in seeds]
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])
