"""The packer against diffusers' Helios, the same packing on Wan (rope 44/42/42, theta 1e4, history 16, 2, 1).

What reaches Helios' first block is caught in a hook: its packed sequence, and its rotary cos and sin. They
coincide with ours: one projection per level, replicate padding at the end of t, h and w, phases averaged over
the same boxes, the order [long, mid, short, noisy], frame indices per item. Where Helios goes other ways:

* Its phases hold every cos and sin twice, [cos t, y, x | sin t, y, x], and its attention pairs neighbouring
  channels (`rope.rotate` pairs the halves of a head); compared is every second value.
* Behind the packing it modulates the history at timestep 0 and lets only the noisy section read the caption
  (here: options of the context), which the first block's input does not show.
* Its mid and long levels take the size of their grid from the short one, and always the kernels (2, 4, 4) and
  (4, 8, 8): it has no mid or long level without a short one, and no other schedules.
"""

from functools import cache
from typing import Any

import pytest
import torch
from diffusers import HeliosTransformer3DModel
from torch import Tensor

from fp_lab.packing.packer import ContextPacker, projection_name
from fp_lab.packing.rope import RopeConfig, phases
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import ContextLevel, PackedContext

AXES = (44, 42, 42)
LEVELS = {"long": Kernel(4, 8, 8), "mid": Kernel(2, 4, 4), "short": BASE}
# Helios' own indices with the first frame kept: 1 + 16 + 2 + 1 of history, then the section.
TIMES = {"long": range(1, 17), "mid": range(17, 19), "short": (0, 19)}
SECTION = range(20, 29)


@cache
def helios() -> HeliosTransformer3DModel:
    torch.manual_seed(0)
    return HeliosTransformer3DModel(
        num_attention_heads=1,
        attention_head_dim=sum(AXES),
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=32,
        ffn_dim=32,
        num_layers=1,
        rope_dim=AXES,
    ).eval()


@cache
def packer() -> ContextPacker:
    rope = RopeConfig(10_000.0, AXES)
    loaded = ContextPacker(LEVELS.values(), 4, sum(AXES), rope)
    for name, kernel in LEVELS.items():
        source = helios().get_submodule(f"patch_{name}")
        loaded.projections[projection_name(kernel)].load_state_dict(source.state_dict())
    return loaded


def draw(size: tuple[int, int], batch: int = 2) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    frames = {**{name: len(times) for name, times in TIMES.items()}, "noisy": len(SECTION)}
    return {name: torch.randn(batch, 4, t, *size, generator=generator) for name, t in frames.items()}


def indices(offsets: tuple[int, ...]) -> dict[str, Tensor]:
    """Frame indices ``b t`` of the levels and of the section, each item's moved by an offset of its own."""
    times = {**TIMES, "noisy": SECTION}
    return {name: torch.tensor([[t + o for t in times[name]] for o in offsets]) for name in times}


@torch.no_grad()
def first_block_input(latents: dict[str, Tensor], times: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Tokens ``b n d`` and rotary cos and sin ``b n (2 d)`` as Helios' own forward made them."""
    caught: list[Any] = []
    hook = helios().blocks[0].register_forward_pre_hook(lambda _, arguments: caught.append(arguments))
    history = {f"latents_history_{name}": latents[name] for name in LEVELS}
    history |= {f"indices_latents_history_{name}": times[name] for name in LEVELS}
    try:
        helios()(
            hidden_states=latents["noisy"],
            timestep=torch.full((len(latents["noisy"]),), 500),
            encoder_hidden_states=torch.zeros(len(latents["noisy"]), 3, 16),
            indices_hidden_states=times["noisy"],
            **history,
        )
    finally:
        hook.remove()
    ((tokens, _, _, rotary, _),) = caught
    return tokens, rotary


@torch.no_grad()
def packed(latents: dict[str, Tensor], times: dict[str, Tensor], size: tuple[int, int]) -> PackedContext:
    levels = tuple(
        ContextLevel(
            kernel, latents[name], times[name], torch.ones_like(times[name]).bool(), tail=None, size=size
        )
        for name, kernel in LEVELS.items()
    )
    context: PackedContext | None = packer()(levels)
    assert context is not None
    return context


def compare(
    latents: dict[str, Tensor], ours: dict[str, Tensor], theirs: dict[str, Tensor], size: tuple[int, int]
) -> None:
    tokens, rotary = first_block_input(latents, theirs)
    context = packed(latents, ours, size)
    count = context.tokens.shape[1]
    noisy = phases(ours["noisy"], *size, BASE, packer().rope)
    torch.testing.assert_close(context.tokens, tokens[:, :count], atol=1e-5, rtol=0)
    assert count + noisy.cos.shape[1] == tokens.shape[1]
    cos, sin = rotary.chunk(2, -1)
    assert torch.equal(cos[..., ::2], cos[..., 1::2])
    assert torch.equal(sin[..., ::2], sin[..., 1::2])
    torch.testing.assert_close(
        torch.cat((context.phases.cos, noisy.cos), 1), cos[..., ::2], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        torch.cat((context.phases.sin, noisy.sin), 1), sin[..., ::2], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("size", [(8, 16), (6, 10)], ids=["full kernels", "padded kernels"])
def test_packed_sequence_and_phases_equal_those_of_helios(size: tuple[int, int]) -> None:
    times = indices((0, 0))
    compare(draw(size), times, times, size)


def test_frame_indices_of_every_item_are_its_own_as_in_helios() -> None:
    times = indices((0, 33))
    compare(draw((6, 10)), times, times, (6, 10))


@pytest.mark.parametrize("name", [*LEVELS, "noisy"])
def test_indices_that_are_off_by_one_would_be_noticed(name: str) -> None:
    times = indices((0, 0))
    with pytest.raises(AssertionError, match="not close"):
        compare(draw((8, 8)), {**times, name: times[name] + 1}, times, (8, 8))


def test_projections_are_not_mixed_up() -> None:
    latents, times = draw((8, 8)), indices((0, 0))
    tokens, _ = first_block_input(latents, times)
    context = packed({**latents, "mid": -latents["mid"]}, times, (8, 8))
    different = (context.tokens - tokens[:, : context.tokens.shape[1]]).abs().amax((0, 2)) > 1e-3
    assert different.nonzero().flatten().tolist() == [4, 5, 6, 7], "four long tokens, then four mid ones"
