"""What the adapter does beyond FramePack's own call: the text-to-video model, masks, remembered contexts."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import HunyuanVideoTransformer3DModel
from torch import Tensor

from fp_lab.backbones.diffusers.families import load_transformer
from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextLevel, PackedContext
from tiny_hunyuan import FORWARD, TINY, Inputs, adapter, assert_equal, draw, pack, randomise

FRAME = 4 * 4
"""Tokens of a frame of 8 x 8 latents."""
TEXT_TO_VIDEO = {key: value for key, value in TINY.items() if "image" not in key and "clean" not in key}
TIMES = torch.tensor([FORWARD.section] * 2)


def text_to_video() -> HunyuanVideoTransformer3DModel:
    model = HunyuanVideoTransformer3DModel(**TEXT_TO_VIDEO).eval()
    randomise(model)
    return model


def told(context: PackedContext, timesteps: Tensor) -> PackedContext:
    return replace(context, timesteps=timesteps[:, None])


def cut(context: PackedContext, tokens: slice) -> PackedContext:
    phases = replace(context.phases, cos=context.phases.cos[:, tokens], sin=context.phases.sin[:, tokens])
    return replace(context, tokens=context.tokens[:, tokens], phases=phases)


@pytest.fixture
def inputs() -> Inputs:
    return draw(FORWARD, 2)


@torch.no_grad()
def isolated(inputs: Inputs, context: PackedContext, scale: Tensor | None = None) -> Tensor:
    """One joint call in which the context's queries see the context alone."""
    joint = replace(context, reads_text=False, key_scale=scale)
    section = adapter().prepare(TIMES, (8, 8), inputs.text, joint)
    assert section.mask is not None
    mask, count = section.mask.clone(), context.tokens.shape[1]
    mask[:, :, :count, count:] = False
    return adapter().denoise(inputs.noisy, inputs.timesteps, replace(section, mask=mask))


@torch.no_grad()
def test_without_history_the_text_to_video_model_is_that_of_diffusers(inputs: Inputs, tmp_path: Path) -> None:
    model, text = text_to_video(), replace(inputs.text, image=None)
    assert text.mask is not None
    theirs = model(
        inputs.noisy,
        inputs.timesteps,
        text.tokens,
        text.mask.to(text.tokens.dtype),
        text.pooled,
        guidance=text.guidance,
        return_dict=False,
    )[0]
    model.save_pretrained(tmp_path / "transformer")
    for ours in (
        HunyuanVideo(copy.deepcopy(model)),
        load_transformer(tmp_path),
    ):
        assert_equal(ours(inputs.noisy, torch.arange(9)[None].expand(2, -1), inputs.timesteps, text), theirs)
    with pytest.raises(ValueError, match=r"image .*\(2, 3, 16\), expected None"):
        ours(inputs.noisy, TIMES, inputs.timesteps, inputs.text)


@torch.no_grad()
def test_the_text_to_video_model_packs_a_history_with_projections_from_its_own(inputs: Inputs) -> None:
    model = HunyuanVideo(text_to_video())
    packer = ContextPacker([BASE, Kernel(1, 4, 4)], model.channels, model.width, model.rope)
    packer.initialise_from(model.patch)
    text = replace(inputs.text, image=None)
    frames, known = torch.tensor([[18, 19]] * 2), torch.ones(2, 2).bool()
    outputs = []
    for shift in (0.0, 1.0):
        packed = packer((ContextLevel(BASE, inputs.context["2x"] + shift, frames, known),))
        outputs.append(model(inputs.noisy, TIMES, inputs.timesteps, text, packed))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("scaled", [False, True])
def test_a_remembered_context_equals_one_that_sees_itself_alone(inputs: Inputs, *, scaled: bool) -> None:
    context = pack([FORWARD] * 2, inputs)
    scale = torch.tensor([[1.0, 0.3], [2.0, 1.5]]) if scaled else None
    alone = replace(told(context, inputs.timesteps), reads_text=False, key_scale=scale)
    memory = adapter().remember(alone, inputs.text)
    assert memory.keys[0].shape == (2, 2, 40, 10)
    ours = adapter()(inputs.noisy, TIMES, inputs.timesteps, inputs.text, memory)
    assert_equal(ours, isolated(inputs, context, scale))
    other = adapter().remember(told(alone, inputs.timesteps - 30), inputs.text)
    moved = adapter()(inputs.noisy, TIMES, inputs.timesteps, inputs.text, other)
    assert (moved - ours).abs().max() > 1e-4, "a remembered context has a timestep of its own"


@torch.no_grad()
def test_what_is_remembered_later_sees_what_was_before(inputs: Inputs) -> None:
    context = replace(told(pack([FORWARD] * 2, inputs), inputs.timesteps), reads_text=False)
    first, second = cut(context, slice(0, 16)), cut(context, slice(16, None))
    past = adapter().remember(first, inputs.text)
    memory = adapter().remember(second, inputs.text, past)
    section = adapter().prepare(TIMES, (8, 8), inputs.text, replace(context, timesteps=None))
    assert section.mask is not None
    mask = section.mask.clone()
    mask[:, :, :40, 40:] = False
    mask[:, :, :16, 16:] = False
    joint = adapter().denoise(inputs.noisy, inputs.timesteps, replace(section, mask=mask))
    assert_equal(adapter()(inputs.noisy, TIMES, inputs.timesteps, inputs.text, memory), joint)


@torch.no_grad()
def test_unknown_tokens_are_not_remembered(inputs: Inputs) -> None:
    context = replace(told(pack([FORWARD] * 2, inputs), inputs.timesteps), reads_text=False)
    known = (torch.arange(40) < 16).expand(2, -1)
    masked = adapter().remember(replace(context, mask=known), inputs.text)
    kept = adapter().remember(cut(context, slice(0, 16)), inputs.text)
    ours, theirs = (
        adapter()(inputs.noisy, TIMES, inputs.timesteps, inputs.text, memory) for memory in (masked, kept)
    )
    assert_equal(ours, theirs)


@torch.no_grad()
def test_a_context_reads_the_caption_only_where_it_is_asked_to(inputs: Inputs) -> None:
    context, other = told(pack([FORWARD] * 2, inputs), inputs.timesteps), inputs.text.tokens.flip(0)
    for reads in (False, True):
        one, another = (
            adapter().remember(replace(context, reads_text=reads), replace(inputs.text, tokens=tokens))
            for tokens in (inputs.text.tokens, other)
        )
        same = replace(inputs.text, pooled=inputs.text.pooled)
        assert same.pooled is inputs.text.pooled, "which would reach the context by its modulation"
        assert torch.equal(one.keys[-1], another.keys[-1]) != reads


@torch.no_grad()
def test_a_mask_hides_frames_and_no_word_carries_them(inputs: Inputs) -> None:
    frame = torch.arange(9).repeat_interleave(FRAME)
    apart = (frame[:, None] == frame).expand(2, -1, -1)
    moved = inputs.noisy.clone()
    moved[:, :, 1:] += 1
    outputs = [
        adapter()(noisy, TIMES, inputs.timesteps, inputs.text, None, mask)
        for mask in (apart, None)
        for noisy in (inputs.noisy, moved)
    ]
    assert torch.equal(outputs[0][:, :, 0], outputs[1][:, :, 0])
    assert (outputs[2][:, :, 0] - outputs[3][:, :, 0]).abs().max() > 1e-3
    alone = adapter()(inputs.noisy[:, :, 4:5], TIMES[:, 4:5], inputs.timesteps, inputs.text)
    sees_all = torch.ones(2, FRAME, FRAME).bool()
    words_apart = adapter()(
        inputs.noisy[:, :, 4:5], TIMES[:, 4:5], inputs.timesteps, inputs.text, None, sees_all
    )
    assert_equal(outputs[0][:, :, 4:5], words_apart)
    assert (alone - words_apart).abs().max() > 1e-4, "without a mask words see the video"


def test_captions_and_images_become_a_condition(inputs: Inputs) -> None:
    backbone = copy.copy(adapter())
    backbone.texts = lambda captions: HunyuanCondition(
        inputs.text.tokens[: len(captions)], pooled=inputs.text.pooled[: len(captions)]
    )
    text = backbone.encode_text(["a ball"], inputs.text.image, guidance=3.5)
    assert isinstance(text, HunyuanCondition)
    assert text.guidance is not None
    assert text.guidance.tolist() == [3500]
    assert text.image is inputs.text.image
