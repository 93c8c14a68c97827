"""Real models as presets: their published configs as numbers (nothing is downloaded)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from fp_lab.backbones.diffusers.families import new_transformer
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.backbones.wan.model import Wan

Family = Literal["hunyuan", "framepack", "wan"]

HUNYUAN_SOURCE = "https://huggingface.co/hunyuanvideo-community/HunyuanVideo (transformer/config.json)"
FRAMEPACK_SOURCE = "https://huggingface.co/lllyasviel/FramePackI2V_HY (config.json)"
WAN_SOURCE = "https://huggingface.co/Wan-AI/Wan2.1-{name}-Diffusers (transformer/config.json)"

CLASSES: Mapping[Family, str] = {
    "hunyuan": "HunyuanVideoTransformer3DModel",
    "framepack": "HunyuanVideoFramepackTransformer3DModel",
    "wan": "WanTransformer3DModel",
}
"""diffusers' class of each family."""

LATENT_CHANNELS = 16
FRAME_STRIDE = 4
"""Frames of video per latent frame of both, after the first."""

_HUNYUAN: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "num_attention_heads": 24,
    "attention_head_dim": 128,
    "num_layers": 20,
    "num_single_layers": 40,
    "num_refiner_layers": 2,
    "mlp_ratio": 4.0,
    "patch_size": 2,
    "patch_size_t": 1,
    "qk_norm": "rms_norm",
    "guidance_embeds": True,
    "text_embed_dim": 4096,
    "pooled_projection_dim": 768,
    "rope_theta": 256.0,
    "rope_axes_dim": (16, 56, 56),
}
_FRAMEPACK = _HUNYUAN | {"has_image_proj": True, "image_proj_dim": 1152}
_WAN: dict[str, Any] = {
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "attention_head_dim": 128,
    "patch_size": (1, 2, 2),
    "text_dim": 4096,
    "freq_dim": 256,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}
_WAN_IMAGE = {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}
"""Beside the noisy latents a mask of 4 channels and given latents; CLIP's tokens of an image."""
_ASSUMED = (
    "The paper gives parameters and context tokens only; that its {heads} heads of 128 channels at "
    "HunyuanVideo's depth make the {size} is an assumption"
)


@dataclass(frozen=True)
class RealModel:
    """A video diffusion transformer as its config.

    Attributes:
        name: on the command line.
        title: in words.
        family: see `CLASSES`.
        settings: of the class.
        recipe: ablation name of the packed section, unless another one is asked for.
        words: text tokens per sample.
        source: where the settings are published.
        assumed: what is not published; empty where all is.
        image: tokens of the first frame's embedding, beside the words.
        stored: bytes per parameter in the published files.
    """

    name: str
    title: str
    family: Family
    settings: Mapping[str, Any] = field(hash=False)
    recipe: str
    words: int
    source: str
    assumed: str = ""
    image: int = 0
    stored: int = 2


def _variant(name: str, size: str, heads: int, recipe: str) -> RealModel:
    """One of the paper's variants: HunyuanVideo with so many heads, so narrower or wider."""
    return RealModel(
        name,
        f"the paper's {name}, {size}",
        "framepack",
        _FRAMEPACK | {"num_attention_heads": heads},
        recipe,
        256,
        FRAMEPACK_SOURCE,
        "" if heads == _HUNYUAN["num_attention_heads"] else _ASSUMED.format(heads=heads, size=size),
        image=729,
    )


def _wan(
    name: str, published: str, heads: int, layers: int, hidden: int, image: Mapping[str, Any] | None = None
) -> RealModel:
    """Wan 2.1 of a published name such as ``T2V-14B``; with an image what that adds to the settings."""
    settings = {"num_attention_heads": heads, "num_layers": layers, "ffn_dim": hidden}
    size = published.split("-")[1]
    return RealModel(
        name,
        f"Wan 2.1 {size}, {'text' if image is None else 'image and text'} to video",
        "wan",
        _WAN | settings | dict(image or {}),
        "f1k1_x_g9_f1k1f2k2f16k4_td",
        512,
        WAN_SOURCE.format(name=published),
        image=0 if image is None else 257,
        stored=4,
    )


MODELS: dict[str, RealModel] = {
    model.name: model
    for model in (
        RealModel(
            "hunyuan-video",
            "HunyuanVideo 13B, text to video",
            "hunyuan",
            _HUNYUAN,
            "f1k1_x_g9_f1k1f2k2f16k4_td",
            256,
            HUNYUAN_SOURCE,
        ),
        _wan("wan-1.3b", "T2V-1.3B", 12, 30, 8960),
        _wan("wan-14b", "T2V-14B", 40, 40, 13824),
        _wan("wan-14b-i2v", "I2V-14B-480P", 40, 40, 13824, _WAN_IMAGE),
        _variant("base", "13B", 24, "td_f2k2f1k1h4w4f1k1h4w2f1k1_g9"),
        _variant("lite", "7B", 18, "td_f20k4f1k1_g9"),
        _variant("extended", "20B", 30, "td_f2k2f1k1h4w4f2k1h4w2f1k1_g9"),
    )
}


def model_of(name: str) -> RealModel:
    """A model by its name.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in MODELS:
        close = get_close_matches(name, MODELS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"model: got {name!r}, expected one of {', '.join(MODELS)}{hint}")
    return MODELS[name]


def build_transformer(model: RealModel) -> HunyuanVideo | Wan:
    """The backbone of a preset with random weights of torch's default type, on its default device.

    Under ``torch.device("meta")`` it takes no memory, and a moment.
    """
    return new_transformer(CLASSES[model.family], model.settings)
