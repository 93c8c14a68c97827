"""A tiny FramePack transformer with random weights, and what it and our adapter are called with."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextLevel, PackedContext

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
        image=None if text.image is None else text.image[one],
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
