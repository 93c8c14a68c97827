"""Sampling: for every section of the plan, pack the context, solve, place."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from fp_lab.checks.finite import check_video
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.flow.matching import schedule, shift_for
from fp_lab.flow.solvers import solver_of
from fp_lab.model import FramePackModel
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Section, check_sections, even_scenes, plan, prompts_of
from fp_lab.sampling.guidance import guided_velocity, require_shape
from fp_lab.sampling.history_latents import HistoryLatents
from fp_lab.sampling.rope_jitter import jittered
from fp_lab.sampling.section_context import CachedHistory, History, PackedHistory
from fp_lab.sampling.seeds import seeded_noise
from fp_lab.sampling.settings import SamplingConfig, check_switches
from fp_lab.shapes import Caption, EncodedText, TextCondition


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
    captions: Sequence[Caption | Sequence[Caption]],
    seeds: Sequence[int],
    sampling: SamplingConfig,
    history: Tensor | None = None,
    images: Tensor | None = None,
    scenes: Sequence[int] | None = None,
    made: Mapping[int, Tensor] | None = None,
    sections: Sequence[Section] | None = None,
    codec: LatentCodec | None = None,
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
        codec: of the latents, on their device, where `sampling.reencode` asks for it.

    Yields:
        Sections in generation order.

    Raises:
        ValueError: if captions, seeds, history or sections do not fit the batch and the length, or the
            sampling has switches that the model or the recipe gives nothing to do, or needs a codec.
        NotFinite: naming the first section whose latents are not; a device is waited for once per section.
    """
    _check(model, recipe, given, frames, captions, seeds, history)
    check_switches(sampling, model.context, recipe)
    if sampling.reencode and codec is None:
        raise ValueError("sampling.reencode: got True and no codec, expected the codec of the latents")
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
    known = history_of(model, recipe, sections, frames, given, seeds, sampling)
    kept = HistoryLatents(codec if sampling.reencode else None, sampling.adaptive, seeds, recipe.section)
    longest = max((len(section.targets) for section in sections), default=0)
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
            shared = sampling.section_noise == "shared"
            shape = (channels, longest if shared else len(targets), rows, columns)
            noise = seeded_noise(seeds, 0 if shared else index, shape)[:, :, : len(targets)].to(given)
            # by the tokens of this call: the endpoint order's first one has two sections, a last one may be
            # shorter
            tokens = model.section_tokens(len(targets), rows, columns)
            shift = shift_for(sampling.shift, tokens, model.section_tokens(frames, rows, columns))
            velocity = guided_velocity(
                model,
                known.attended(index, section, texts),
                guidance=sampling.guidance,
                rescale=sampling.rescale,
                history_guidance=sampling.history_guidance,
            )
            latents = solver_of(sampling.solver)(velocity, noise, schedule(sampling.solver.steps, shift))
            require_shape(f"solver {sampling.solver.name!r}", latents, noise.shape)
            latents = latents.to(noise)
        where = f"section {index + 1} of {len(sections)}"
        # before it becomes context: one NaN would spread to every later section
        check_video(latents, f"{where}: latents of frames {min(targets)} to {max(targets)}")
        if index + 1 < len(sections):  # nothing reads the last one
            past = latents if history is None else history[:, :, targets]
            known.learn(targets, kept.of(index, targets, past), texts)
        yield RolledSection(index, section, latents)


def history_of(
    model: FramePackModel,
    recipe: Recipe,
    sections: Sequence[Section],
    frames: int,
    given: Tensor,
    seeds: Sequence[int],
    sampling: SamplingConfig,
) -> History:
    """History of videos before any frame is known, with the switches of sampling.

    Args:
        model: that samples.
        recipe: compression and order.
        sections: the plan.
        frames: length of the videos, latent frames.
        given: latents ``b c t h w`` of their size; not learned.
        seeds: one per video.
        sampling: switches.
    """
    rope = None
    if sampling.rope_jitter:
        backbone = model.backbone
        rope = jittered(backbone.rope, backbone.heads, seeds, sampling.rope_jitter)
    if model.context.attention == "block_causal":
        return CachedHistory(model, recipe, rope)
    items, channels, _, rows, columns = given.shape
    context = model.context
    if sampling.positions == "relative":
        context = replace(context, positions="relative", padding="true_distance")
    return PackedHistory(
        model,
        recipe,
        sections,
        frames,
        given.new_zeros(items, channels, rows, columns),
        seeds,
        sampling.history_level,
        context=context,
        rope=rope,
        recency=sampling.recency,
    )


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
    captions: Sequence[Caption | Sequence[Caption]],
    sampling: SamplingConfig,
    images: Tensor | None,
) -> list[list[TextCondition]]:
    """For every prompt of a video the captions' encodings, and that of a negative one where it guides."""
    several = {len(text) for text in captions if not isinstance(text, str | EncodedText)}
    count = prompts_of(recipe) if recipe.order == "planned" else max(several, default=1)
    if not several <= {count} or not count:
        expected = f"1 or {count}, one per endpoint" if recipe.order == "planned" else "as many for each"
        raise ValueError(f"got {sorted(several)} prompts per video, expected {expected} for recipe {recipe}")
    each = [[text] * count if isinstance(text, str | EncodedText) else list(text) for text in captions]
    guidance = sampling.distilled_guidance
    encode = partial(model.backbone.encode_text, images=images, guidance=guidance)
    # scale 1 cancels v_n, so it is not computed: sampling then costs half
    negative = [encode([sampling.negative_prompt] * len(each))] if sampling.guidance != 1 else []
    return [[encode([prompts[index] for prompts in each]), *negative] for index in range(count)]


def _check(
    model: FramePackModel,
    recipe: Recipe,
    given: Tensor,
    frames: int,
    captions: Sequence[Caption | Sequence[Caption]],
    seeds: Sequence[int],
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
