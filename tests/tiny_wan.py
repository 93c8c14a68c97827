"""Tiny Wan transformers with random weights, and what they and our adapter are called with."""

import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.backbones.wan.model import Wan
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextLevel, PackedContext
from seeded_weights import seeded_state

TEXT: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "ffn_dim": 40,
    "text_dim": 16,
    "freq_dim": 32,
}
IMAGE = TEXT | {"in_channels": 12, "image_dim": 24, "added_kv_proj_dim": 32}
"""Image to video: a mask of 4 channels and given latents beside the noisy ones, and tokens of an image."""
FIRST_AND_LAST = IMAGE | {"pos_embed_seq_len": 6}
CONFIGS = {"text": TEXT, "image": IMAGE, "first and last": FIRST_AND_LAST}
WORDS = 512
"""The length of captions that diffusers expects before an image."""
IMAGE_TOKENS = 6
KERNELS = {"long": Kernel(4, 8, 8), "mid": Kernel(2, 4, 4), "short": BASE}
LEVELS = {"long": range(1, 17), "mid": range(17, 19), "short": (0, 19)}
"""Frames of the history in Helios' order: the start and the nearest frame at full size."""
OFFSETS = (0, 33)
"""By which the frame indices of each item are moved."""


@cache
def diffusers_model(kind: str = "text") -> WanTransformer3DModel:
    model = WanTransformer3DModel(**CONFIGS[kind]).eval()
    model.load_state_dict(seeded_state(model.state_dict()))
    return model


@cache
def adapter(kind: str = "text") -> Wan:
    return Wan(copy.deepcopy(diffusers_model(kind)))


@dataclass(frozen=True)
class Inputs:
    """What a call is given.

    Attributes:
        noisy: ``b c t h w``.
        times: ``b t``.
        timesteps: ``b``.
        text: captions, and images where the transformer reads them.
        context: tokens before the section.
    """

    noisy: Tensor
    times: Tensor
    timesteps: Tensor
    text: WanCondition
    context: PackedContext

    def item(self, index: int) -> "Inputs":
        one, context, text = slice(index, index + 1), self.context, self.text
        phases = replace(context.phases, cos=context.phases.cos[one], sin=context.phases.sin[one])
        steps = None if context.timesteps is None else context.timesteps[one]
        image = None if text.image is None else text.image[one]
        mask = None if text.mask is None else text.mask[one]
        return Inputs(
            self.noisy[one],
            self.times[one],
            self.timesteps[one],
            replace(text, tokens=text.tokens[one], mask=mask, image=image),
            replace(context, tokens=context.tokens[one], phases=phases, timesteps=steps),
        )

    @torch.no_grad()
    def through(self, wan: Wan, **changes: Any) -> Tensor:
        """The output of a backbone, after some changes of the arguments."""
        arguments = {name: getattr(self, name) for name in ("noisy", "times", "timesteps", "text", "context")}
        output: Tensor = wan(**arguments | changes)
        return output


@cache
def packer(wan: Wan) -> ContextPacker:
    """Projections that differ from each other."""
    made = ContextPacker(KERNELS.values(), 4, wan.width, wan.rope).requires_grad_(False)
    made.load_state_dict(seeded_state(made.state_dict()))
    return made


def draw(kind: str = "text", size: tuple[int, int] = (6, 10), frames: int = 3) -> Inputs:
    """Two items; latents of the levels are drawn alike for all sections."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    offsets = torch.tensor(OFFSETS)[:, None]
    levels = tuple(
        ContextLevel(kernel, history(name, size), indices, torch.ones_like(indices).bool(), None, size)
        for name, kernel in KERNELS.items()
        for indices in [torch.tensor(LEVELS[name]) + offsets]
    )
    context: PackedContext | None = packer(adapter(kind))(levels)
    assert context is not None
    image = None if kind == "text" else normal(2, IMAGE_TOKENS, 24)
    return Inputs(
        noisy=normal(2, 4, frames, *size),
        times=20 + torch.arange(frames) + offsets,
        timesteps=torch.tensor([830.0, 310.0]),
        text=WanCondition(normal(2, 7 if kind == "text" else WORDS, 16), image=image),
        context=context,
    )


def history(level: str, size: tuple[int, int]) -> Tensor:
    """Latents ``b c t h w`` of a level."""
    generator = torch.Generator().manual_seed(2 + list(LEVELS).index(level))
    return torch.randn(2, 4, len(LEVELS[level]), *size, generator=generator)


def assert_equal(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1, "outputs next to zero would hide a difference"
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
