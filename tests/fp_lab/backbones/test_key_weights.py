"""Weights of keys against a softmax with a bias, computed the long way."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tiny_hunyuan
import tiny_wan
from fp_lab.backbones.key_weights import attend, key_weights
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.backbones.wan.model import Wan
from fp_lab.packing.packer import ContextPacker
from fp_lab.recipe import BASE
from fp_lab.shapes import ContextLevel, PackedContext
from tiny_conditions import normal

OWN = 3
"""Keys that have no bias."""


def long_way(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    logits = q @ k.mT / q.shape[-1] ** 0.5 + bias[:, None, None]
    return logits.softmax(-1) @ v


@pytest.mark.parametrize("strength", [0.3, 8.0])
def test_weights_of_keys_equal_a_softmax_with_a_bias(strength: float) -> None:
    q, k, v = normal(2, 3, 5, 8), normal(2, 3, 9, 8, seed=1), normal(2, 3, 9, 8, seed=2)
    bias = -strength * normal(2, 9 - OWN, seed=3).abs()
    weights = key_weights(bias, OWN)
    assert weights is not None
    expected = long_way(q.double(), k.double(), v.double(), F.pad(bias, (0, OWN)).double())
    made = attend(F.scaled_dot_product_attention, q, k, v, weights[:, None, :, None])
    torch.testing.assert_close(made.double(), expected, atol=1e-6, rtol=0)
    assert (made - F.scaled_dot_product_attention(q, k, v)).abs().max() > 0.01


def test_keys_that_are_far_beyond_any_float_are_as_if_they_were_not_there() -> None:
    q, k, v = normal(1, 2, 4, 8), normal(1, 2, 6, 8, seed=1), normal(1, 2, 6, 8, seed=2)
    weights = key_weights(torch.full((1, 6 - OWN), -1e6), OWN)
    assert weights is not None
    made = attend(F.scaled_dot_product_attention, q, k, v, weights[:, None, :, None])
    alone = F.scaled_dot_product_attention(q, k[:, :, -OWN:], v[:, :, -OWN:])
    torch.testing.assert_close(made, alone, atol=1e-6, rtol=0)


def test_the_fused_kernel_is_kept() -> None:
    """PyTorch's own choice; for values wider than keys it is the one that writes the whole softmax down."""
    chosen = []

    def kernel(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        chosen.append(torch._fused_sdp_choice(q, k, v, **options))
        return F.scaled_dot_product_attention(q, k, v, **options)

    q, k, v = normal(1, 2, 64, 32), normal(1, 2, 96, 32), normal(1, 2, 96, 32)
    attend(kernel, q, k, v, None)
    attend(kernel, q, k, v, torch.ones(1, 1, 96, 1))
    assert chosen == [int(torch.nn.attention.SDPBackend.FLASH_ATTENTION)] * 2
    assert torch._fused_sdp_choice(q, k, F.pad(v, (0, 1))) == int(torch.nn.attention.SDPBackend.MATH)


def tiny() -> tuple[Any, Callable[..., Tensor], PackedContext]:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=2, head_width=16)).eval()
    torch.nn.init.normal_(backbone.final.weight, std=0.5)
    packer = ContextPacker([BASE], 4, 32, backbone.rope)
    times = torch.tensor([[0, 1], [0, 5]])
    packed = packer((ContextLevel(BASE, normal(2, 4, 2, 4, 4), times, torch.ones(2, 2).bool()),))
    assert packed is not None
    text = backbone.encode_text(["red ball", "ball"])
    arguments = (normal(2, 4, 3, 4, 4), torch.tensor([[6, 7, 8]] * 2), torch.tensor([700.0, 300.0]), text)
    return backbone, partial(backbone, *arguments), replace(packed, tokens=packed.tokens.detach())


def wan() -> tuple[Any, Callable[..., Tensor], PackedContext]:
    inputs = tiny_wan.draw()
    backbone = Wan(copy.deepcopy(tiny_wan.diffusers_model()))
    arguments = (inputs.noisy, inputs.times, inputs.timesteps, inputs.text)
    return backbone, partial(backbone, *arguments), inputs.context


def hunyuan() -> tuple[Any, Callable[..., Tensor], PackedContext]:
    inputs = tiny_hunyuan.draw(tiny_hunyuan.FORWARD, 1)
    context = tiny_hunyuan.pack([tiny_hunyuan.FORWARD], inputs)
    arguments = (inputs.noisy, torch.tensor([tiny_hunyuan.FORWARD.section]), inputs.timesteps)
    text = replace(inputs.text, mask=None)  # without a mask of padded words there is none at all
    return tiny_hunyuan.adapter(), partial(tiny_hunyuan.adapter(), *arguments, text), context


@pytest.mark.parametrize("isolated", [False, True], ids=["full", "isolated"])
@pytest.mark.parametrize("family", [tiny, wan, hunyuan])
@torch.no_grad()
def test_a_bias_on_the_context_is_one_in_every_block_and_no_mask(
    family: Callable[[], tuple[Any, Callable[..., Tensor], PackedContext]],
    *,
    isolated: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backbone, call, context = family()
    count = context.tokens.shape[1]
    bias = -2 * normal(len(context.tokens), count, seed=5).abs()
    biased: Any = replace(context, key_bias=bias)
    plain: Any = replace(context, key_bias=None)
    if isolated:
        text = call.args[3]  # type: ignore[attr-defined]
        told = replace(context, timesteps=torch.zeros(len(context.tokens), 1), reads_text=False)
        plain = backbone.remember(told, text)
        biased = replace(backbone.remember(replace(told, key_bias=bias), text), key_bias=bias)
        assert all(torch.equal(a, b) for a, b in zip(biased.keys, plain.keys, strict=True))

    masks: list[object] = []
    fused = F.scaled_dot_product_attention

    def spy(query: Tensor, key: Tensor, value: Tensor, attn_mask: object = None, **options: Any) -> Tensor:
        if key.shape[2] > count:  # not the words alone
            masks.append(attn_mask)
        return fused(query, key, value, attn_mask=attn_mask, **options)  # type: ignore[arg-type]

    def slow(query: Tensor, key: Tensor, value: Tensor, attn_mask: object = None, **options: Any) -> Tensor:
        if key.shape[2] <= count:
            return fused(query, key, value, attn_mask=attn_mask, **options)  # type: ignore[arg-type]
        return long_way(query, key, value, F.pad(bias, (0, key.shape[2] - count)))

    with monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", slow)
        expected = call(plain)
    with monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", spy)
        made = call(biased)
    tiny_wan.assert_equal(made, expected)
    assert (made - call(plain)).abs().max() > 1e-3
    assert masks
    assert all(mask is None for mask in masks)
