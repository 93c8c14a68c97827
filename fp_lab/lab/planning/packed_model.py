"""A real model with its packer, called on a given number of tokens.

The cost of a step depends on the number of tokens, not on their positions. So noisy tokens are laid in one
row of one frame, and any number of them is exact, also that of a packed context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fp_lab.backbones.diffusers.presets import RealModel, build_transformer
from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.packing.packer import ContextPacker, kernels_of
from fp_lab.recipe import BASE, parse
from fp_lab.shapes import ContextMemory, PackedContext, Phases, TextCondition

DEPTHS = ("num_layers", "num_single_layers")
"""Settings with the number of blocks of each kind of a transformer."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of a sample: of the noisy section, and of the packed context beside it."""

    noisy: int
    context: int = 0

    @property
    def total(self) -> int:
        """Number of tokens of both."""
        return self.noisy + self.context


class Packed(nn.Module):
    """A real model behind the project's adapter, with the packer of its recipe."""

    def __init__(self, model: RealModel) -> None:
        """Build model and packer with random weights, in torch's default data type."""
        super().__init__()
        self.model = model
        self.backbone = build_transformer(model)
        backbone = self.backbone
        kernels = kernels_of(parse(model.recipe))
        self.packer = ContextPacker(kernels, backbone.channels, backbone.width, backbone.rope)

    @property
    def blocks(self) -> list[Any]:
        """Blocks of the transformer, in the order of their calls."""
        return self.backbone.blocks

    def forward(self, tokens: Tokens) -> Tensor:
        """Run one forward pass of a sample, including the packed context."""
        return self.denoise(tokens, self.context(tokens))

    def denoise(self, tokens: Tokens, context: PackedContext | ContextMemory | None) -> Tensor:
        """Run one forward pass of the noisy tokens beside a given context."""
        row = torch.zeros(1, self.backbone.channels, 1, BASE.h, BASE.w * tokens.noisy)
        times = torch.zeros(1, 1, dtype=torch.int64)
        output: Tensor = self.backbone(row, times, torch.zeros(1), self.text_condition(), context)
        return output

    def remember(self, context: PackedContext) -> ContextMemory:
        """Compute keys and values of a context that does not see the section."""
        memory: ContextMemory = self.backbone.remember(
            replace(context, timesteps=torch.zeros(1, 1)), self.text_condition()
        )
        return memory

    def context(self, tokens: Tokens) -> PackedContext | None:
        """Pack the context; None without one."""
        if not tokens.context:
            return None
        pairs = torch.zeros(1, tokens.context, sum(self.backbone.rope.axes) // 2, dtype=torch.float32)
        packed = torch.zeros(1, tokens.context, self.backbone.width, requires_grad=True)
        return PackedContext(packed, Phases(pairs, pairs))

    def text_condition(self) -> TextCondition:
        """Text condition, with the first frame's embedding where the model takes one."""
        model, settings = self.model, self.model.settings
        if model.family == "wan":
            seen = torch.zeros(1, model.image, settings["image_dim"]) if model.image else None
            return WanCondition(torch.zeros(1, model.words, settings["text_dim"]), image=seen)
        return HunyuanCondition(
            tokens=torch.zeros(1, model.words, settings["text_embed_dim"]),
            pooled=torch.zeros(1, settings["pooled_projection_dim"]),
            image=torch.zeros(1, model.image, settings["image_proj_dim"]) if model.image else None,
            guidance=torch.zeros(1) if settings["guidance_embeds"] else None,
        )


def of_depth(model: RealModel, depths: Mapping[str, int]) -> RealModel:
    """Return the model with other numbers of blocks of each kind, by the names of `DEPTHS`."""
    return replace(model, settings={**model.settings, **depths})
