"""The adapter against diffusers' own packed forward, on shared random weights."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

from fp_lab.backbones.diffusers.families import load_transformer
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.backbones.protocol import Backbone
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import Kernel
from fp_lab.shapes import PackedContext, TextCondition
from tiny_hunyuan import (
    FORWARD,
    KERNELS,
    LAYOUTS,
    SIGMAS,
    TINY,
    Inputs,
    Layout,
    adapter,
    assert_equal,
    between,
    by_diffusers,
    by_us,
    diffusers_model,
    draw,
    inverted,
    pack,
)


@pytest.mark.parametrize("size", [(8, 8), (6, 10)], ids=["full kernels", "padded kernels"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_packed_forward_equals_that_of_diffusers(
    layout: Layout, batch: int, size: tuple[int, int]
) -> None:
    inputs = draw(layout, batch, size)
    assert_equal(by_us([layout] * batch, inputs), by_diffusers(layout, inputs, diffusers_model()))


@pytest.mark.parametrize("layout", [FORWARD, inverted(2)], ids=["forward", "inverted"])
def test_history_that_does_not_exist_is_zero_latents_as_in_diffusers(layout: Layout) -> None:
    inputs = draw(layout, 2)
    missing = {name: torch.zeros_like(inputs.context[name]) for name in ("4x", "2x", "1x")}
    inputs = replace(inputs, context={**inputs.context, **missing})
    assert_equal(by_us([layout] * 2, inputs), by_diffusers(layout, inputs, diffusers_model()))


def test_frames_that_do_not_fill_a_kernel_are_padded_as_in_diffusers() -> None:
    layout = Layout(
        between(20, 28), {"4x": between(4, 16), "2x": between(16, 18), "start": [0], "1x": between(19, 19)}
    )
    inputs = draw(layout, 2, (6, 10))
    assert_equal(by_us([layout] * 2, inputs), by_diffusers(layout, inputs, diffusers_model()))


@pytest.mark.parametrize("moved", ["section", *KERNELS])
def test_a_frame_index_changes_the_output(moved: str) -> None:
    inputs = draw(FORWARD, 1)
    if moved == "section":
        layout = replace(FORWARD, section=[t + 1 for t in FORWARD.section])
    else:
        times = [t + 1 for t in FORWARD.context[moved]]
        layout = replace(FORWARD, context={**FORWARD.context, moved: times})
    theirs = by_diffusers(FORWARD, inputs, diffusers_model())
    assert (by_us([layout], inputs) - theirs).abs().max() > 1e-4
    assert_equal(by_us([layout], inputs), by_diffusers(layout, inputs, diffusers_model()))


def test_items_with_frame_indices_of_their_own_equal_the_items_one_by_one() -> None:
    layouts = [FORWARD, inverted(0), inverted(3)]
    inputs = draw(FORWARD, 3, (6, 10))
    ours = by_us(layouts, inputs)
    for index, layout in enumerate(layouts):
        item = inputs.item(index)
        assert_equal(ours[index : index + 1], by_us([layout], item))
        assert_equal(ours[index : index + 1], by_diffusers(layout, item, diffusers_model()))


def test_a_section_prepared_once_serves_every_step() -> None:
    layout = inverted(1)
    inputs = draw(layout, 2)
    times = torch.tensor([layout.section] * 2)
    with torch.no_grad():
        section = adapter().prepare(times, (8, 8), inputs.text, pack([layout] * 2, inputs))
        for step, sigma in enumerate(SIGMAS):
            inputs = replace(inputs, noisy=inputs.noisy + step, timesteps=torch.full((2,), 1000 * sigma))
            ours = adapter().denoise(inputs.noisy, inputs.timesteps, section)
            assert_equal(ours, by_diffusers(layout, inputs, diffusers_model()))


def test_the_wrapped_module_still_works_alone() -> None:
    inputs = draw(FORWARD, 2)
    wrapped = by_diffusers(FORWARD, inputs, adapter().transformer)
    assert torch.equal(wrapped, by_diffusers(FORWARD, inputs, diffusers_model()))


def test_hidden_words_do_not_matter() -> None:
    inputs = draw(FORWARD, 2)
    mask = torch.tensor([[1, 0, 1, 1, 0, 0, 0], [1, 1, 1, 0, 1, 0, 0]]).bool()
    other = torch.where(mask[..., None], inputs.text.tokens, 10 * inputs.text.tokens.flip(1))
    outputs = [
        by_us([FORWARD] * 2, replace(inputs, text=replace(inputs.text, tokens=tokens, mask=mask)))
        for tokens in (inputs.text.tokens, other)
    ]
    assert_equal(*outputs)


def test_context_that_an_item_does_not_know_is_masked() -> None:
    inputs = draw(FORWARD, 2)
    context = pack([FORWARD] * 2, inputs)
    known = torch.ones(context.tokens.shape[:2]).bool()
    known[0, 4:8] = False
    times = torch.tensor([FORWARD.section] * 2)
    with torch.no_grad():
        ours = adapter()(inputs.noisy, times, inputs.timesteps, inputs.text, replace(context, mask=known))
        item, kept = inputs.item(0), known[0]
        phases = replace(context.phases, cos=context.phases.cos[:1, kept], sin=context.phases.sin[:1, kept])
        alone = adapter()(
            item.noisy, times[:1], item.timesteps, item.text, PackedContext(context.tokens[:1, kept], phases)
        )
    assert_equal(ours[:1], alone)
    assert_equal(ours[1:], by_us([FORWARD] * 2, inputs)[1:])


def test_a_section_without_history_needs_no_context() -> None:
    inputs = draw(FORWARD, 2)
    times = torch.tensor([FORWARD.section] * 2)
    hidden = replace(pack([FORWARD] * 2, inputs), mask=torch.zeros(2, 40).bool())
    with torch.no_grad():
        alone = adapter()(inputs.noisy, times, inputs.timesteps, inputs.text)
        masked = adapter()(inputs.noisy, times, inputs.timesteps, inputs.text, hidden)
    assert_equal(alone, masked)


def test_odd_latents_are_padded_to_the_patch() -> None:
    inputs = draw(FORWARD, 1, (7, 5))
    times = torch.tensor([FORWARD.section])
    padded = torch.nn.functional.pad(inputs.noisy, (0, 1, 0, 1, 0, 0), mode="replicate")
    with torch.no_grad():
        ours = adapter()(inputs.noisy, times, inputs.timesteps, inputs.text)
        theirs = adapter()(padded, times, inputs.timesteps, inputs.text)
    assert_equal(ours, theirs[..., :7, :5])


def test_bfloat16_weights_give_what_diffusers_gives() -> None:
    inputs = draw(FORWARD, 2)
    model = copy.deepcopy(diffusers_model()).to(torch.bfloat16)
    half = HunyuanVideo(copy.deepcopy(model))
    with torch.no_grad():
        ours = half(
            inputs.noisy,
            torch.tensor([FORWARD.section] * 2),
            inputs.timesteps,
            inputs.text,
            pack([FORWARD] * 2, inputs),
        )
    assert ours.dtype == torch.float32, "of the latents, as a solver needs it"
    in_half = Inputs(
        inputs.noisy.bfloat16(),
        {name: frames.bfloat16() for name, frames in inputs.context.items()},
        replace(
            inputs.text,
            tokens=inputs.text.tokens.bfloat16(),
            pooled=inputs.text.pooled.bfloat16(),
            image=None if inputs.text.image is None else inputs.text.image.bfloat16(),
        ),
        inputs.timesteps,
    )
    theirs = by_diffusers(FORWARD, in_half, model).float()
    assert (ours - theirs).abs().mean() < 0.02 * theirs.abs().mean()


def test_checkpointing_keeps_the_gradients() -> None:
    inputs = draw(FORWARD, 2)
    times = torch.tensor([FORWARD.section] * 2)

    def gradients(*, saving: bool) -> list[Tensor]:
        trained = HunyuanVideo(copy.deepcopy(diffusers_model()))
        if saving:
            trained.transformer.enable_gradient_checkpointing()
        context = pack([FORWARD] * 2, inputs)
        trained(inputs.noisy, times, inputs.timesteps, inputs.text, context).square().mean().backward()
        return [p.grad for p in trained.parameters() if p.grad is not None]

    plain, saved = gradients(saving=False), gradients(saving=True)
    unused = sum(1 for _ in diffusers_model().clean_x_embedder.parameters())
    assert len(plain) == sum(1 for _ in adapter().parameters()) - unused, "all others learn"
    for one, other in zip(plain, saved, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_weights_are_read_from_a_folder(tmp_path: Path) -> None:
    diffusers_model().save_pretrained(tmp_path)
    loaded = load_transformer(tmp_path)
    assert isinstance(loaded, Backbone)
    assert (loaded.width, loaded.channels, loaded.depth, loaded.heads) == (20, 4, 2, 2)
    assert (loaded.rope.theta, loaded.rope.axes) == (256.0, (2, 4, 4))
    states = (loaded.state_dict(), adapter().state_dict())
    assert all(torch.equal(one, other) for one, other in zip(*(s.values() for s in states), strict=True))


def test_a_section_can_become_a_context() -> None:
    inputs = draw(FORWARD, 2)
    embedded = adapter().as_context(inputs.noisy, torch.tensor([FORWARD.section] * 2), inputs.timesteps)
    assert torch.equal(embedded.tokens, diffusers_model().x_embedder(inputs.noisy))
    assert embedded.phases.cos.shape == (2, 9 * 16, 5)
    assert embedded.timesteps is not None
    assert torch.equal(embedded.timesteps[:, 0], inputs.timesteps)


def test_released_projections_are_taken_and_given_back() -> None:
    backbone = copy.deepcopy(adapter())
    others = ContextPacker([*KERNELS.values(), Kernel(1, 4, 4)], 4, 20, backbone.rope)
    unlike = others.projections["1x4x4"].weight.clone()
    backbone.load_projections(others)
    assert torch.equal(others.projections["1x4x4"].weight, unlike)
    released = backbone.transformer.clean_x_embedder
    assert torch.equal(others.projections["4x8x8"].weight, released.proj_4x.weight)
    with torch.no_grad():
        others.projections["4x8x8"].weight.mul_(2)
    backbone.store_projections(others)
    assert torch.equal(released.proj_4x.weight, 2 * adapter().transformer.clean_x_embedder.proj_4x.weight)
    assert torch.equal(released.proj.weight, adapter().transformer.clean_x_embedder.proj.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 4}, r"patch .*\(1, 4, 4\), expected \(1, 2, 2\)"),
        ({"rope_axes_dim": (2, 4, 2)}, r"rope_axes_dim \(2, 4, 2\) .*\b8, expected .*attention_head_dim 10"),
    ],
)
def test_other_transformers_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HunyuanVideo(HunyuanVideoFramepackTransformer3DModel(**TINY | change))


def test_what_the_adapter_cannot_do_is_refused() -> None:
    inputs = draw(FORWARD, 2)
    times, context = torch.tensor([FORWARD.section] * 2), pack([FORWARD] * 2, inputs)
    noisy, steps, text = inputs.noisy, inputs.timesteps, inputs.text
    with pytest.raises(ValueError, match=r"got 1 captions .*`texts`"):
        adapter().encode_text(["a ball"])
    with pytest.raises(ValueError, match=r"context .*timesteps None, .*context\.timestep=zero"):
        adapter().remember(context, text)
    with pytest.raises(ValueError, match=r"timesteps \(2, 9\), expected"):
        adapter()(noisy, times, steps[:, None].expand(2, 9), text, context)
    with pytest.raises(ValueError, match=r"timesteps \(2, 9\), expected"):
        adapter().as_context(noisy, times, steps[:, None].expand(2, 9))
    with pytest.raises(ValueError, match=r"TextCondition, expected .*\bHunyuanCondition"):
        adapter()(noisy, times, steps, TextCondition(text.tokens, text.mask), context)
    with pytest.raises(ValueError, match=r"guidance None, expected .*guidance_embeds True"):
        adapter()(noisy, times, steps, replace(text, guidance=None), context)
    with pytest.raises(ValueError, match=r"image .*None, expected "):
        adapter()(noisy, times, steps, replace(text, image=None), context)
    with pytest.raises(ValueError, match=r"context .*timesteps .*expected context\.timestep 'same'"):
        adapter()(noisy, times, steps, text, replace(context, timesteps=torch.zeros(2, 1)))
    with pytest.raises(ValueError, match=r"\(9, 8, 6\).*, expected \(9, 8, 8\)"):
        adapter().denoise(noisy[..., :6], steps, adapter().prepare(times, (8, 8), text, context))
