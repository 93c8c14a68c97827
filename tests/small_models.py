"""Real models of a few thousand parameters, of the classes that the presets name, to be run for real."""

from dataclasses import replace
from typing import Any

import torch

from fp_lab.backbones.diffusers.presets import MODELS, RealModel
from fp_lab.lab.planning.packed_model import Packed, Tokens

TOKENS = Tokens(96, 32)
HUNYUAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "num_single_layers": 3,
    "num_refiner_layers": 1,
    "text_embed_dim": 24,
    "pooled_projection_dim": 12,
    "rope_axes_dim": (4, 6, 6),
}
WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 3,
    "ffn_dim": 80,
    "text_dim": 24,
    "freq_dim": 16,
}
SMALL = {
    "hunyuan-video": HUNYUAN,
    "base": HUNYUAN | {"image_proj_dim": 20},
    "wan-1.3b": WAN,
    "wan-14b-i2v": WAN | {"image_dim": 20, "added_kv_proj_dim": 32},
}


def small(name: str, **further: Any) -> RealModel:
    """A model of the same class, small enough to be run for real."""
    model = MODELS[name]
    settings = {**model.settings, **SMALL[name], **further}
    return replace(model, settings=settings, words=6, image=5 if model.image else 0)


def real(model: RealModel) -> Packed:
    """Its module with memory behind it, bfloat16 as a trace has it."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        return Packed(model)
    finally:
        torch.set_default_dtype(torch.float32)


def call(module: Packed, tokens: Tokens = TOKENS) -> torch.Tensor:
    torch.set_default_dtype(torch.bfloat16)
    try:
        output: torch.Tensor = module(tokens)
        return output
    finally:
        torch.set_default_dtype(torch.float32)


WIDE = {"num_attention_heads": 8, "ffn_dim": 1024}
WIDE_TOKENS = Tokens(3000)
