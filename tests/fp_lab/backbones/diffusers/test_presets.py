"""Presets of real models on the meta device against published figures."""

from dataclasses import replace

import pytest
import torch

from fp_lab.backbones.diffusers.presets import LATENT_CHANNELS, MODELS, build_transformer, model_of
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.backbones.protocol import Backbone
from fp_lab.backbones.wan.model import Wan
from fp_lab.packing.rope import RopeConfig
from tiny_wan import TEXT

ROPE = {Wan: RopeConfig(1e4, (44, 42, 42)), HunyuanVideo: RopeConfig(256.0, (16, 56, 56))}


def on_meta(name: str) -> HunyuanVideo | Wan:
    with torch.device("meta"):
        return build_transformer(MODELS[name])


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_every_preset_is_a_backbone_without_memory(name: str) -> None:
    backbone = on_meta(name)
    assert isinstance(backbone, Backbone)
    assert isinstance(backbone, Wan if name.startswith("wan") else HunyuanVideo)
    assert {p.device.type for p in backbone.parameters()} == {"meta"}
    assert backbone.channels == LATENT_CHANNELS
    assert backbone.rope == ROPE[type(backbone)]
    assert (backbone.transformer.config.get("image_dim") is not None) == (name == "wan-14b-i2v")


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # counts of the released safetensors
        ("hunyuan-video", 12_821_012_544),
        ("wan-1.3b", 1_418_996_800),
        ("wan-14b", 14_288_491_584),
    ],
)
def test_parameters_of_the_released_models(name: str, published: int) -> None:
    assert count(on_meta(name)) == published


def test_image_to_video_is_as_large_as_its_files() -> None:
    files = (4_929_161_040, 2 * 4_951_011_392, 4_951_093_744, 9 * 4_846_133_208, 2_182_996_112)
    unused = 40 * 5120  # norm_added_q of each block, which diffusers leaves out
    assert 4 * (count(on_meta("wan-14b-i2v")) + unused) == pytest.approx(sum(files), rel=1e-5)


@pytest.mark.parametrize(("name", "size"), [("base", 13e9), ("lite", 7e9), ("extended", 20e9)])
def test_the_papers_variants_have_their_sizes(name: str, size: float) -> None:
    assert count(on_meta(name)) == pytest.approx(size, rel=0.05)


def test_weights_are_random_and_of_the_default_type() -> None:
    small = replace(MODELS["wan-1.3b"], settings=TEXT)
    torch.set_default_dtype(torch.bfloat16)
    try:
        first, second = build_transformer(small).patch.weight, build_transformer(small).patch.weight
    finally:
        torch.set_default_dtype(torch.float32)
    assert first.dtype == torch.bfloat16
    assert first.std() > 0
    assert not torch.equal(first, second)


def test_a_wrong_name_gets_a_hint() -> None:
    with pytest.raises(
        ValueError, match=r"model: got 'wan-14b-i2', expected .*hunyuan-video, .*'wan-14b-i2v'\?"
    ):
        model_of("wan-14b-i2")
