"""Contexts of the real models, and what stands beside their transformers, against published figures."""

import pytest

from fp_lab.backbones.diffusers.presets import MODELS
from fp_lab.lab.planning.components import (
    CLIP_TEXT,
    CLIP_VISION,
    LLAMA,
    SIGLIP,
    UMT5,
    WAN_VAE,
    Part,
    beside,
    parameters_of,
)
from fp_lab.lab.planning.packed_model import Tokens
from fp_lab.lab.planning.plan import closed_form, full_tokens, packed_tokens
from fp_lab.packing.token_counts import context_limit, ideal_limit
from fp_lab.recipe import parse


@pytest.mark.parametrize(
    ("name", "rate", "by_volume", "padded"),
    [("base", 2, 3120, 3120), ("lite", 4, 2047.5, 2080), ("extended", 5 / 3, 3900, 3900)],
)
def test_the_papers_variants_have_their_contexts(
    name: str, rate: float, by_volume: float, padded: int
) -> None:
    recipe = MODELS[name].recipe
    assert packed_tokens(recipe, 60, 104) == Tokens(14_040, padded)
    assert ideal_limit(0, rate, 1560) == pytest.approx(padded)
    assert closed_form(recipe, 60, 104) == by_volume
    assert full_tokens(33, 60, 104).total == 51_480


@pytest.mark.parametrize("name", MODELS)
def test_where_kernels_divide_the_closed_form_is_what_is_packed(name: str) -> None:
    for recipe in (MODELS[name].recipe, "tc_f4k4f2k2f1k1_g9", "g9"):
        tokens = closed_form(recipe, 64, 96)
        if recipe.startswith("tc"):  # one frame fills a kernel of four only in part
            tokens += 3 / 4 * 64 * 96 / 64
        assert tokens == context_limit(parse(recipe), 64, 96)


@pytest.mark.parametrize(
    ("part", "published"),
    [
        (LLAMA, 8_030_261_248 - 128_256 * 4096 + 64 * 4096),  # Llama 3 8B has a head, and 64 words less
        (CLIP_TEXT, 123_060_480),
        (SIGLIP, 428_225_600),
        (UMT5, 22_723_671_744 // 4),  # bytes of files
        (CLIP_VISION, 1_264_217_760 // 2 - 1280 * 1024),  # but for the projection, which nothing reads
        (WAN_VAE, 507_591_892 // 4),
    ],
)
def test_parts_have_the_published_sizes(part: Part, published: int) -> None:
    assert parameters_of(part) == pytest.approx(published, rel=1e-4)


def test_what_stands_beside_and_takes_disk() -> None:
    wan, hunyuan, base = (beside(MODELS[name]) for name in ("wan-14b-i2v", "hunyuan-video", "base"))
    assert wan.disk == pytest.approx(90_075_953_948, rel=1e-3)  # weights of the repository
    assert wan.parts == ("UMT5-XXL", "CLIP ViT-H", "VAE")
    assert wan.text == 2 * parameters_of(UMT5)
    assert wan.total == wan.text + wan.image + wan.vae
    assert (hunyuan.image, base.image) == (0, 2 * parameters_of(SIGLIP))
    assert hunyuan.text == base.text == 2 * (parameters_of(LLAMA) + parameters_of(CLIP_TEXT))
