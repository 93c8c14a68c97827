"""How each family's module is built and called on so many tokens.

What a step costs depends on the number of tokens, not on where they lie. So noisy tokens are laid in one row
of one frame, and any number of them is exact, also that of a packed context.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    HunyuanVideoFramepackTransformer3DModel,
    HunyuanVideoTransformer3DModel,
    WanTransformer3DModel,
)
from torch import Tensor, nn

from fp_lab.backbones.hunyuan_condition import HunyuanCondition
from fp_lab.backbones.hunyuan_video import HunyuanVideo
from fp_lab.lab.capacity.models import Family, RealModel
from fp_lab.packing.packer import ContextPacker, kernels_of
from fp_lab.recipe import BASE, parse
from fp_lab.shapes import PackedContext, Phases


@dataclass(frozen=True)
class Tokens:
    """What a sample holds: tokens of the noisy section, and of the packed context beside it."""

    noisy: int
    context: int = 0

    @property
    def total(self) -> int:
        """Of both."""
        return self.noisy + self.context


@dataclass(frozen=True)
class Kind:
    """What is known of a family of models.

    Attributes:
        build: the module for a model and samples of so many tokens, in torch's default type.
        call: one forward pass of a sample.
        blocks: the transformer's blocks, in the order of their calls.
    """

    build: Callable[[RealModel, Tokens], nn.Module]
    call: Callable[[Any, RealModel, Tokens], Tensor]
    blocks: Callable[[Any], Sequence[nn.Module]]


def _row(model: RealModel, tokens: int) -> Tensor:
    """Latents ``1 c 1 h w`` of so many tokens in one row."""
    return torch.zeros(1, model.settings["in_channels"], 1, BASE.h, BASE.w * tokens)


def _build_hunyuan(model: RealModel, tokens: Tokens) -> nn.Module:
    module: nn.Module = HunyuanVideoTransformer3DModel(**model.settings)
    return module


def _call_hunyuan(module: Any, model: RealModel, tokens: Tokens) -> Tensor:
    settings = model.settings
    return module(
        hidden_states=_row(model, tokens.total),
        timestep=torch.zeros(1),
        encoder_hidden_states=torch.zeros(1, model.words, settings["text_embed_dim"]),
        encoder_attention_mask=torch.ones(1, model.words),
        pooled_projections=torch.zeros(1, settings["pooled_projection_dim"]),
        guidance=torch.zeros(1) if settings["guidance_embeds"] else None,
        return_dict=False,
    )[0]


def _double_and_single(module: Any) -> Sequence[nn.Module]:
    return [*module.transformer_blocks, *module.single_transformer_blocks]


class _Packed(nn.Module):
    """The project's adapter with the packer of a recipe."""

    def __init__(self, model: RealModel) -> None:
        super().__init__()
        self.backbone = HunyuanVideo(HunyuanVideoFramepackTransformer3DModel(**model.settings))
        backbone = self.backbone
        kernels = kernels_of(parse(model.recipe))
        self.packer = ContextPacker(kernels, backbone.channels, backbone.width, backbone.rope)


def _build_packed(model: RealModel, tokens: Tokens) -> nn.Module:
    return _Packed(model)


def _call_packed(module: _Packed, model: RealModel, tokens: Tokens) -> Tensor:
    backbone, settings = module.backbone, model.settings
    text = HunyuanCondition(
        tokens=torch.zeros(1, model.words, settings["text_embed_dim"]),
        pooled=torch.zeros(1, settings["pooled_projection_dim"]),
        image=torch.zeros(1, model.image, settings["image_proj_dim"]),
        guidance=torch.zeros(1) if settings["guidance_embeds"] else None,
    )
    context = None
    if tokens.context:
        pairs = torch.zeros(1, tokens.context, sum(settings["rope_axes_dim"]) // 2, dtype=torch.float32)
        packed = torch.zeros(1, tokens.context, backbone.width, requires_grad=True)
        context = PackedContext(packed, Phases(pairs, pairs))
    times = torch.zeros(1, 1, dtype=torch.int64)
    return backbone(_row(model, tokens.noisy), times, torch.zeros(1), text, context)


def _build_wan(model: RealModel, tokens: Tokens) -> nn.Module:
    module: nn.Module = WanTransformer3DModel(**model.settings, rope_max_seq_len=max(1024, tokens.total))
    return module


def _call_wan(module: Any, model: RealModel, tokens: Tokens) -> Tensor:
    text = torch.zeros(1, model.words, model.settings["text_dim"])
    return module(_row(model, tokens.total), torch.zeros(1), text, return_dict=False)[0]


FAMILIES: dict[Family, Kind] = {
    "hunyuan": Kind(_build_hunyuan, _call_hunyuan, _double_and_single),
    "framepack": Kind(_build_packed, _call_packed, lambda module: module.backbone.blocks),
    "wan": Kind(_build_wan, _call_wan, lambda module: list(module.blocks)),
}
