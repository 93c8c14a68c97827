"""The adapter against diffusers' own packed forward, on shared random weights."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

from fp_lab.backbones.hunyuan_video import HunyuanCondition, HunyuanVideo
from fp_lab.backbones.protocol import Backbone
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextLevel, ContextMemory, PackedContext, TextCondition

TINY: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 10,
    "num_layers": 1,
    "num_single_layers": 1,
    "num_refiner_layers": 1,
    "text_embed_dim": 16,
    "pooled_projection_dim": 8,
    "rope_axes_dim": (2, 4, 4),
    "has_image_proj": True,
    "image_proj_dim": 16,
    "has_clean_x_embedder": True,
}
KERNELS = {"4x": Kernel(4, 8, 8), "2x": Kernel(2, 4, 4), "start": BASE, "1x": BASE}
WORDS, IMAGE = 7, 3
SIGMAS = (0.83, 0.31)


@dataclass(frozen=True)
class Layout:
    """Frame indices of a section and of the levels of its context, which are named as in `KERNELS`."""

    section: list[int]
    context: Mapping[str, list[int]]


def between(first: int, last: int) -> list[int]:
    return list(range(first, last + 1))


def inverted(p: int) -> Layout:
    """Released indices of a section that lies p sections from the start: 1 + 9p + 9 + 1 + 2 + 16."""
    context = {
        "4x": between(9 * p + 13, 9 * p + 28),
        "2x": between(9 * p + 11, 9 * p + 12),
        "start": [0],
        "1x": [9 * p + 10],
    }
    return Layout(between(9 * p + 1, 9 * p + 9), context)


FORWARD = Layout(
    between(20, 28), {"4x": between(1, 16), "2x": between(17, 18), "start": [0], "1x": between(19, 19)}
)
LAYOUTS = {"forward": FORWARD} | {f"inverted {p} sections away": inverted(p) for p in range(4)}


def randomise(module: torch.nn.Module) -> None:
    """Give every parameter values that matter: no zeros, no ones, outputs of order one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
            centre = float(parameter.ndim == 1 and bool((parameter == 1).all()))
            parameter.copy_(centre + torch.randn(parameter.shape, generator=generator) / fan_in**0.5)


@cache
def diffusers_model() -> HunyuanVideoFramepackTransformer3DModel:
    model = HunyuanVideoFramepackTransformer3DModel(**TINY).eval()
    randomise(model)
    return model


@cache
def adapter() -> HunyuanVideo:
    return HunyuanVideo(copy.deepcopy(diffusers_model()))


@cache
def packer() -> ContextPacker:
    loaded = ContextPacker(dict.fromkeys(KERNELS.values()), 4, adapter().width, adapter().rope)
    adapter().load_projections(loaded)
    return loaded


@dataclass(frozen=True)
class Inputs:
    """What both sides are given; frames of a level are ``b c t h w``."""

    noisy: Tensor
    context: Mapping[str, Tensor]
    text: HunyuanCondition
    timesteps: Tensor

    def item(self, index: int) -> "Inputs":
        return Inputs(
            self.noisy[index : index + 1],
            {name: frames[index : index + 1] for name, frames in self.context.items()},
            item_of(self.text, index),
            self.timesteps[index : index + 1],
        )


def item_of(text: HunyuanCondition, index: int) -> HunyuanCondition:
    one = slice(index, index + 1)
    assert text.mask is not None
    assert text.guidance is not None
    return HunyuanCondition(
        text.tokens[one],
        text.mask[one],
        pooled=text.pooled[one],
        image=text.image[one],
        guidance=text.guidance[one],
    )


def draw(layout: Layout, batch: int, size: tuple[int, int] = (8, 8)) -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    words = torch.tensor([[WORDS - 2], [WORDS - 4], [WORDS]])[:batch]  # none fills the first two captions
    text = HunyuanCondition(
        normal(batch, WORDS, 16),
        torch.arange(WORDS) < words,
        pooled=normal(batch, 8),
        image=normal(batch, IMAGE, 16),
        guidance=torch.tensor([6000.0, 1500.0, 10000.0])[:batch],
    )
    context = {name: normal(batch, 4, len(times), *size) for name, times in layout.context.items()}
    timesteps = 1000 * torch.tensor([SIGMAS[0], SIGMAS[1], 0.05])[:batch]
    return Inputs(normal(batch, 4, len(layout.section), *size), context, text, timesteps)


@torch.no_grad()
def by_diffusers(layout: Layout, inputs: Inputs, model: HunyuanVideoFramepackTransformer3DModel) -> Tensor:
    """diffusers' packed forward, called as its FramePack pipeline calls it."""
    text, indices = inputs.text, {name: torch.tensor(times) for name, times in layout.context.items()}
    assert text.mask is not None
    output: Tensor = model(
        hidden_states=inputs.noisy,
        timestep=inputs.timesteps,
        encoder_hidden_states=text.tokens,
        encoder_attention_mask=text.mask.to(text.tokens.dtype),
        pooled_projections=text.pooled,
        image_embeds=text.image,
        guidance=text.guidance,
        indices_latents=torch.tensor(layout.section),
        latents_clean=torch.cat((inputs.context["start"], inputs.context["1x"]), 2),
        indices_latents_clean=torch.cat((indices["start"], indices["1x"])),
        latents_history_2x=inputs.context["2x"],
        indices_latents_history_2x=indices["2x"],
        latents_history_4x=inputs.context["4x"],
        indices_latents_history_4x=indices["4x"],
        return_dict=False,
    )[0]
    return output


def pack(layouts: list[Layout], inputs: Inputs) -> PackedContext:
    """Our context, each item at the indices of its own layout; all frames count as known."""
    levels = []
    for name, kernel in KERNELS.items():
        times = torch.tensor([layout.context[name] for layout in layouts])
        frames = inputs.context[name]
        size = (frames.shape[-2], frames.shape[-1])
        levels.append(ContextLevel(kernel, frames, times, torch.ones_like(times).bool(), None, size))
    packed: PackedContext | None = packer()(tuple(levels))
    assert packed is not None
    return packed


@torch.no_grad()
def by_us(layouts: list[Layout], inputs: Inputs) -> Tensor:
    times = torch.tensor([layout.section for layout in layouts])
    output: Tensor = adapter()(inputs.noisy, times, inputs.timesteps, inputs.text, pack(layouts, inputs))
    return output


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1, "outputs next to zero would hide a difference"
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


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
            image=inputs.text.image.bfloat16(),
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
    loaded = HunyuanVideo.from_pretrained(tmp_path)
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


def test_projections_that_were_not_released_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['1x4x4'\], released are \['1x2x2', '2x4x4', '4x8x8'\]"):
        adapter().load_projections(ContextPacker([BASE, Kernel(1, 4, 4)], 4, 20, adapter().rope))
    without = HunyuanVideo(HunyuanVideoFramepackTransformer3DModel(**TINY | {"has_clean_x_embedder": False}))
    with pytest.raises(ValueError, match="has no clean_x_embedder"):
        without.load_projections(ContextPacker([BASE], 4, 20, adapter().rope))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 4}, r"patch is \(1, 4, 4\), expected \(1, 2, 2\)"),
        ({"rope_axes_dim": (2, 4, 2)}, r"\(2, 4, 2\) sum to 8, expected its attention_head_dim 10"),
        ({"has_image_proj": False}, "no image projection"),
    ],
)
def test_other_transformers_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HunyuanVideo(HunyuanVideoFramepackTransformer3DModel(**TINY | change))


def test_what_the_adapter_cannot_do_is_refused() -> None:
    inputs = draw(FORWARD, 2)
    times, context = torch.tensor([FORWARD.section] * 2), pack([FORWARD] * 2, inputs)
    noisy, steps, text = inputs.noisy, inputs.timesteps, inputs.text
    with pytest.raises(ValueError, match="got 1 captions and has no text encoders yet"):
        adapter().encode_text(["a ball"])
    with pytest.raises(ValueError, match="40 tokens to remember"):
        adapter().remember(context, text)
    with pytest.raises(ValueError, match=r"timesteps \(2, 9\), expected one per item"):
        adapter()(noisy, times, steps[:, None].expand(2, 9), text, context)
    with pytest.raises(ValueError, match=r"timesteps \(2, 9\), expected one per item"):
        adapter().as_context(noisy, times, steps[:, None].expand(2, 9))
    with pytest.raises(ValueError, match=r"attention mask \(2, 184, 184\), expected None"):
        adapter()(noisy, times, steps, text, context, torch.ones(2, 184, 184).bool())
    with pytest.raises(ValueError, match="got a TextCondition, expected a HunyuanCondition"):
        adapter()(noisy, times, steps, TextCondition(text.tokens, text.mask), context)
    with pytest.raises(ValueError, match="got guidance None, expected one"):
        adapter()(noisy, times, steps, replace(text, guidance=None), context)
    with pytest.raises(ValueError, match="got a ContextMemory"):
        adapter()(noisy, times, steps, text, ContextMemory((), ()))
    unfit = replace(context, timesteps=torch.zeros(2, 1), reads_text=False, key_scale=torch.ones(2, 2))
    with pytest.raises(
        ValueError, match="timesteps of its own and no view of the caption and scaled keys, expected"
    ):
        adapter()(noisy, times, steps, text, unfit)
    with pytest.raises(ValueError, match=r"\(9, 8, 6\) frames, rows and columns, expected \(9, 8, 8\)"):
        adapter().denoise(noisy[..., :6], steps, adapter().prepare(times, (8, 8), text, context))
