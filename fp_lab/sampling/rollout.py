"""Sampling: for every section of the plan, pack the context, solve, place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fp_lab.checks.finite import check_video
from fp_lab.checks.ranges import check_ranges
from fp_lab.flow.matching import Shift, schedule, shift_for, to_velocity
from fp_lab.flow.solvers import SolverConfig, Velocity, solver_of
from fp_lab.model import FramePackModel
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Fill, Section, check_sections, even_scenes, plan, prompts_of
from fp_lab.sampling.section_context import Attended, CachedHistory, History, PackedHistory, seeded_noise
from fp_lab.shapes import TextCondition


@dataclass(frozen=True)
class SamplingConfig:
    """How sections are generated.

    Attributes:
        solver: which one, and its steps.
        guidance: classifier-free guidance scale s of v_n + s (v_p - v_n); 1 samples without it.
        distilled_guidance: scale that a model with distilled guidance (HunyuanVideo, FramePack) is told.
        negative_prompt: caption of v_n.
        rescale: share of guidance rescale (https://arxiv.org/abs/2305.08891, section 3.4).
        shift: token count that drives the shift of times.
        fill: how the endpoint order fills its gap; None for the way that the recipe's shape implies.
        history_level: sigma_x of noise on the history, which is at level sigma_x * t; the model is told
            (`context.timestep`: level).
        history_guidance: w of v = (1-w) v(X | no history) + w v(X | history); 1 samples without it. A model
            that is told the level of its history's noise has pure noise for no history.
    """

    solver: SolverConfig = field(default_factory=SolverConfig)
    guidance: float = 1.0
    distilled_guidance: float = 6.0
    negative_prompt: str = ""
    rescale: float = 0.0
    shift: Shift = "section"
    fill: Fill | None = None
    history_level: float = 0.0
    history_guidance: float = 1.0

    def __post_init__(self) -> None:
        """Refuse scales and levels out of range."""
        check_ranges(
            "sampling", self, distilled_guidance="[0, inf)", rescale="[0, 1]", history_level="[0, 1]"
        )


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
    given: Tensor,
    *,
    frames: int,
    captions: Sequence[str | Sequence[str]],
    seeds: Sequence[int],
    sampling: SamplingConfig,
    history: Tensor | None = None,
    images: Tensor | None = None,
    scenes: Sequence[int] | None = None,
    made: Mapping[int, Tensor] | None = None,
    sections: Sequence[Section] | None = None,
) -> Iterator[RolledSection]:
    """Generate videos section by section, yielding each as soon as it is done.

    Memory does not grow with the videos, as long as no tail keeps frames and importance is by time.

    Args:
        model: in evaluation mode.
        recipe: compression and order.
        given: what the videos begin with, latents ``b c t h w``: an image, a clip, or no frame at all for
            text to video.
        frames: length of the videos, latent frames, the given ones included.
        captions: one per video, or one per scene, which for the planned order are its endpoints.
        seeds: one per video; a video's noise depends on its seed and section alone, not on the batch.
        sampling: solver, guidance and options.
        history: true latents ``b c frames h w`` to take every context from (teacher forcing); by default
            the context is what the model itself has made.
        images: embeddings of the first frames ``b i e``, for backbones that take them.
        scenes: first frame of every scene; by default they share the video evenly.
        made: sections ``b c t h w`` that an earlier call with the same arguments has made, by their index.
        sections: plan to walk in place of that of the recipe's order; it covers every frame that is not
            given.

    Yields:
        Sections in generation order.

    Raises:
        ValueError: if captions, seeds, history or sections do not fit the batch and the length, or the
            sampling needs a model that is told the noise of its history.
        NotFinite: naming the first section whose latents are not; a device is waited for once per section.
    """
    _check(model, recipe, given, frames, captions, seeds, sampling, history)
    _, channels, count, rows, columns = given.shape
    prompts = _texts(model, recipe, captions, sampling, images)
    if sections is None:
        sections = plan(
            recipe,
            frames,
            given=frozenset(range(count)),
            fill=sampling.fill,
            scenes=_scenes(recipe, frames, len(prompts), scenes),
        )
    else:
        check_sections(sections, frames, count, len(prompts))
    known = _history(model, recipe, sections, frames, given, seeds, sampling)
    check_video(given, "given frames: latents")
    if count:
        # teacher forcing (`history`): what is generated is yielded, but never becomes context
        known.learn(range(count), given if history is None else history[:, :, :count], prompts[0])
    for index, section in enumerate(sections):
        targets, texts = list(section.targets), prompts[section.prompt]
        if made is not None and index in made:
            # no draw is owed for it: noise comes from seed and index alone
            latents = made[index].to(given)
        else:
            noise = seeded_noise(seeds, index, (channels, len(targets), rows, columns)).to(given)
            # by the tokens of this call: the endpoint order's first one has two sections, a last one may be
            # shorter
            tokens = model.section_tokens(len(targets), rows, columns)
            shift = shift_for(sampling.shift, tokens, model.section_tokens(frames, rows, columns))
            velocity = _velocity(model, known.attended(index, section, texts), sampling)
            latents = solver_of(sampling.solver)(velocity, noise, schedule(sampling.solver.steps, shift))
            _require_shape(f"solver {sampling.solver.name!r}", latents, noise.shape)
            latents = latents.to(noise)
        where = f"section {index + 1} of {len(sections)}"
        # before it becomes context: one NaN would spread to every later section
        check_video(latents, f"{where}: latents of frames {min(targets)} to {max(targets)}")
        known.learn(targets, latents if history is None else history[:, :, targets], texts)
        yield RolledSection(index, section, latents)


def _history(
    model: FramePackModel,
    recipe: Recipe,
    sections: Sequence[Section],
    frames: int,
    given: Tensor,
    seeds: Sequence[int],
    sampling: SamplingConfig,
) -> History:
    if model.context.attention == "block_causal":
        return CachedHistory(model, recipe)
    items, channels, _, rows, columns = given.shape
    blank = given.new_zeros(items, channels, rows, columns)
    return PackedHistory(model, recipe, sections, frames, blank, seeds, sampling.history_level)


def _scenes(recipe: Recipe, frames: int, prompts: int, scenes: Sequence[int] | None) -> tuple[int, ...]:
    """First frame of every scene; the planned order knows what its prompts stand for."""
    # its sections name the prompt of the endpoint that they lead to (`Section.prompt`)
    if recipe.order == "planned" and scenes is None:
        return (0,)
    found = even_scenes(frames, prompts) if scenes is None else tuple(scenes)
    if len(found) != prompts:
        raise ValueError(f"got {prompts} prompts per video for {len(found)} scenes, expected as many")
    return found


def _texts(
    model: FramePackModel,
    recipe: Recipe,
    captions: Sequence[str | Sequence[str]],
    sampling: SamplingConfig,
    images: Tensor | None,
) -> list[list[TextCondition]]:
    """For every prompt of a video the captions' encodings, and that of a negative one where it guides."""
    several = {len(text) for text in captions if not isinstance(text, str)}
    count = prompts_of(recipe) if recipe.order == "planned" else max(several, default=1)
    if not several <= {count} or not count:
        expected = f"1 or {count}, one per endpoint" if recipe.order == "planned" else "as many for each"
        raise ValueError(f"got {sorted(several)} prompts per video, expected {expected} for recipe {recipe}")
    each = [[text] * count if isinstance(text, str) else list(text) for text in captions]
    guidance = sampling.distilled_guidance
    encode = partial(model.backbone.encode_text, images=images, guidance=guidance)
    # scale 1 cancels v_n, so it is not computed: sampling then costs half
    negative = [encode([sampling.negative_prompt] * len(each))] if sampling.guidance != 1 else []
    return [[encode([prompts[index] for prompts in each]), *negative] for index in range(count)]


def _velocity(model: FramePackModel, attended: Attended, sampling: SamplingConfig) -> Velocity:
    """Velocity of a section under its captions and its history, guided by both."""

    def predict(x: Tensor, sigma: float, section: Any) -> Tensor:
        levels = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
        predicted = model.denoise(x, levels, section)
        _require_shape(f"backbone {type(model.backbone).__name__}", predicted, x.shape)
        return to_velocity(predicted, x, levels, model.output)

    def velocity(x: Tensor, sigma: float) -> Tensor:
        # the negative prompt has the same history: guidance is towards the caption alone
        prompted, *unprompted = [predict(x, sigma, section) for section in attended.under(sigma)]
        w = sampling.history_guidance
        if w != 1:
            # before the guidance by text, which then extrapolates from what the history has already guided
            prompted = w * prompted + (1 - w) * predict(x, sigma, attended.without())
        if not unprompted:
            return prompted
        return guide(prompted, unprompted[0], sampling.guidance, sampling.rescale)

    return velocity


def _require_shape(what: str, made: object, wanted: torch.Size) -> None:
    """Refuse what a plugin made of another shape, which would be broadcast in silence."""
    if not isinstance(made, Tensor) or made.shape != wanted:
        told = tuple(made.shape) if isinstance(made, Tensor) else repr(made)
        raise ValueError(f"{what}: got {told}, expected latents {tuple(wanted)}")


def guide(prompted: Tensor, unprompted: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance v_n + s (v_p - v_n), optionally rescaled towards the spread of v_p."""
    guided = unprompted + scale * (prompted - unprompted)
    if not rescale:
        return guided
    # over all but the batch: every video has its own spread
    dims = tuple(range(1, guided.ndim))
    matched = guided * (prompted.std(dims, keepdim=True) / guided.std(dims, keepdim=True))
    return rescale * matched + (1 - rescale) * guided


def _check(
    model: FramePackModel,
    recipe: Recipe,
    given: Tensor,
    frames: int,
    captions: Sequence[str | Sequence[str]],
    seeds: Sequence[int],
    sampling: SamplingConfig,
    history: Tensor | None,
) -> None:
    if not len(given) == len(captions) == len(seeds):
        raise ValueError(
            f"got given frames of {len(given)} videos, {len(captions)} captions and {len(seeds)} seeds, "
            "expected as many"
        )
    count = given.shape[2]
    if count > frames:
        raise ValueError(f"got {count} given frames, expected at most the {frames} of the video")
    whole_blocks = count > 0 and (count - 1) % recipe.section == 0
    if model.context.attention == "block_causal" and not whole_blocks:
        raise ValueError(
            f"got {count} given frames for block-causal attention, expected 1, or 1 and whole blocks of "
            f"{recipe.section} frames"
        )
    if history is not None and history.shape[2] != frames:
        raise ValueError(f"true history has {history.shape[2]} frames, expected {frames}")
    if sampling.history_level and model.context.timestep != "level":
        raise ValueError(
            f"sampling.history_level: got {sampling.history_level} for a model with context.timestep "
            f"{model.context.timestep!r}, expected one with 'level', that is told the noise of its history"
        )
