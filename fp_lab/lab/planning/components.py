"""Components beside a real model's transformer: text encoders, image encoder, VAE, by their configs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import torch
from torch import nn

from fp_lab.backbones.diffusers.presets import RealModel, build_transformer

Kind = Literal["text", "image", "vae"]


@dataclass(frozen=True)
class Part:
    """A component beside the transformer.

    Attributes:
        title: name in words.
        kind: what the network encodes.
        name: name of the class, in transformers or, for a VAE, in diffusers.
        settings: settings of the published config.
        source: address of the published config.
        stored: bytes per parameter in the published files.
    """

    title: str
    kind: Kind
    name: str
    settings: Mapping[str, Any] = field(hash=False)
    source: str
    stored: int = 2


@dataclass(frozen=True)
class Beside:
    """Memory of the components beside the transformer, each while in use.

    Attributes:
        parts: components in words.
        text: bytes of the text encoders' weights in bfloat16.
        image: bytes of the image encoder's weights in bfloat16; 0 for a model without one.
        vae: bytes of the VAE's weights in bfloat16.
        disk: bytes of the published files of all components and of the transformer.
    """

    parts: tuple[str, ...]
    text: int
    image: int
    vae: int
    disk: int

    @property
    def total(self) -> int:
        """Bytes of all weights in bfloat16, without the transformer's."""
        return self.text + self.image + self.vae


_HUNYUAN = "https://huggingface.co/hunyuanvideo-community/HunyuanVideo"
_WAN = "https://huggingface.co/Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
_SIGLIP = "https://huggingface.co/lllyasviel/flux_redux_bfl (image_encoder)"

LLAMA = Part(
    "Llama 3 8B",
    "text",
    "LlamaModel",
    {
        "vocab_size": 128320,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    f"{_HUNYUAN} (text_encoder)",
)
CLIP_TEXT = Part(
    "CLIP-L",
    "text",
    "CLIPTextModel",
    {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    f"{_HUNYUAN} (text_encoder_2)",
)
SIGLIP = Part(
    "SigLIP so400m",
    "image",
    "SiglipVisionModel",
    {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
    _SIGLIP,
)
HUNYUAN_VAE = Part("VAE", "vae", "AutoencoderKLHunyuanVideo", {}, f"{_HUNYUAN} (vae)")
UMT5 = Part(
    "UMT5-XXL",
    "text",
    "UMT5EncoderModel",
    {
        "vocab_size": 256384,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
    },
    f"{_WAN} (text_encoder)",
    stored=4,
)
CLIP_VISION = Part(
    "CLIP ViT-H",
    "image",
    "CLIPVisionModel",
    {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    },
    f"{_WAN} (image_encoder)",
)
WAN_VAE = Part("VAE", "vae", "AutoencoderKLWan", {}, f"{_WAN} (vae)", stored=4)


def parts_of(model: RealModel) -> tuple[Part, ...]:
    """List the encoders and VAE of a model, with an image encoder where it reads an image."""
    if model.family == "wan":
        return (UMT5, *([CLIP_VISION] if model.image else []), WAN_VAE)
    return (LLAMA, CLIP_TEXT, *([SIGLIP] if model.image else []), HUNYUAN_VAE)


def beside(model: RealModel) -> Beside:
    """Compute the memory of the components beside a model's transformer, without loading them."""
    parts = parts_of(model)

    def held(kind: Kind) -> int:
        return sum(2 * parameters_of(part) for part in parts if part.kind == kind)

    with torch.device("meta"):
        transformer = _count(build_transformer(model))
    disk = model.stored * transformer + sum(part.stored * parameters_of(part) for part in parts)
    return Beside(tuple(p.title for p in parts), held("text"), held("image"), held("vae"), disk)


@cache
def parameters_of(part: Part) -> int:
    """Number of parameters of a component, counted on the meta device."""
    import diffusers
    import transformers

    with torch.device("meta"):
        if part.kind == "vae":
            return _count(getattr(diffusers, part.name)(**part.settings))
        kind = getattr(transformers, part.name)
        return _count(kind(kind.config_class(**part.settings)))


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
