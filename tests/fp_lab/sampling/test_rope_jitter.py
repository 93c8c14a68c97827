import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoFramepackTransformer3DModel
from torch import Tensor

import tiny_hunyuan
import tiny_wan
from fp_lab.backbones.hunyuan.model import HunyuanVideo
from fp_lab.backbones.phasors import joint_phasors, rotate_pairs
from fp_lab.backbones.wan.model import Wan
from fp_lab.packing.packer import ContextPacker
from fp_lab.packing.rope import RopeConfig, axis_angles, phases, rotate
from fp_lab.recipe import Kernel
from fp_lab.sampling.rope_jitter import jittered
from fp_lab.shapes import ContextLevel, Phases
from tiny_conditions import normal

ROPE = RopeConfig(256.0, (4, 6, 6))


def test_bases_are_drawn_within_the_strength_for_each_video_and_head() -> None:
    rope = jittered(ROPE, 2000, [7, 8], 0.8)
    assert rope.time_bases is not None
    e = (rope.time_bases / 256 - 1) / 0.8
    assert e.abs().max() <= 1
    # of U[-1, 1]: mean 0, variance 1/3; the standard errors of 2000 draws are 0.013 and 0.007
    torch.testing.assert_close(e.mean(1), torch.zeros(2), atol=0.06, rtol=0)
    torch.testing.assert_close(e.var(1), torch.full((2,), 1 / 3), atol=0.03, rtol=0)
    again = jittered(ROPE, 2000, [8], 0.8).time_bases
    assert again is not None
    assert torch.equal(rope.time_bases[1:], again), "a video's own, whatever its batch"
    assert not torch.equal(rope.time_bases[0], rope.time_bases[1])


def test_angles_of_a_head_are_those_of_its_base() -> None:
    """t / theta_h^(2i/d): by hand for d = 4."""
    angles = axis_angles(torch.tensor([[3, 100]]), 4, torch.tensor([[4.0, 100.0]]))
    expected = torch.tensor([[[[3.0, 1.5], [3.0, 0.3]], [[100.0, 50.0], [100.0, 10.0]]]])
    torch.testing.assert_close(angles, expected)


@pytest.mark.parametrize("pooling", ["averaged", "midpoint"])
def test_pooled_phases_of_a_head_are_those_of_its_base(pooling: Any) -> None:
    bases = torch.tensor([[100.0, 300.0], [256.0, 20.0]])
    times, kernel = torch.tensor([[0, 1, 2, 9], [5, 6, 7, 8]]), Kernel(2, 4, 4)
    made = phases(times, 8, 8, kernel, replace(ROPE, time_bases=bases), pooling)
    rows = phases(times, 8, 8, kernel, ROPE, pooling)
    for video in range(2):
        for head in range(2):
            rope = replace(ROPE, theta=bases[video, head].item())
            alone = phases(times[video : video + 1], 8, 8, kernel, rope, pooling)
            for part in ("cos", "sin"):
                own = getattr(made, part)[video, :, head]
                torch.testing.assert_close(own[:, :2], getattr(alone, part)[0, :, :2])
                assert torch.equal(own[:, 2:], getattr(rows, part)[video, :, 2:]), "rows and columns stay"


def by_head(phase: Phases, head: int) -> Phases:
    return Phases(phase.cos[:, :, head], phase.sin[:, :, head])


def test_every_head_is_rotated_by_its_own_phases() -> None:
    bases = torch.tensor([[100.0, 300.0]] * 2)
    phase = phases(torch.tensor([[3, 9]] * 2), 2, 2, Kernel(1, 2, 2), replace(ROPE, time_bases=bases))
    x = normal(2, 2, 2, 16)
    turned, paired = rotate(x, phase), rotate_pairs(x.transpose(1, 2), joint_phasors([phase]))
    for head in range(2):
        alone = by_head(phase, head)
        torch.testing.assert_close(turned[:, head : head + 1], rotate(x[:, head : head + 1], alone))
        one = x[:, head : head + 1].transpose(1, 2)
        torch.testing.assert_close(paired[:, :, head : head + 1], rotate_pairs(one, joint_phasors([alone])))
    assert torch.equal(joint_phasors([phase], 3)[:, 2:], torch.ones(2, 3, 2, 8, dtype=torch.complex64))


def tiny_family(family: str) -> tuple[Any, ContextPacker, tuple[ContextLevel, ...], tuple[Any, ...]]:
    """A backbone, its packer, levels, and what else a call is given."""
    if family == "wan":
        drawn = tiny_wan.draw()
        backbone: Any = Wan(copy.deepcopy(tiny_wan.diffusers_model()))
        levels = tuple(
            ContextLevel(kernel, tiny_wan.history(name, (6, 10)), times, torch.ones_like(times).bool())
            for name, kernel in tiny_wan.KERNELS.items()
            for times in [torch.tensor([list(tiny_wan.LEVELS[name])] * 2)]
        )
        times = torch.tensor([[20, 21, 22]] * 2)
        return backbone, tiny_wan.packer(tiny_wan.adapter()), levels, (drawn, times)
    # rotary axes (4, 2, 4): the first frequency of an axis is 1 whatever its base
    settings = {**tiny_hunyuan.TINY, "rope_axes_dim": (4, 2, 4)}
    transformer = HunyuanVideoFramepackTransformer3DModel(**settings).eval()
    tiny_hunyuan.randomise(transformer)
    hunyuan, layout = HunyuanVideo(transformer), tiny_hunyuan.FORWARD
    packer = ContextPacker(dict.fromkeys(tiny_hunyuan.KERNELS.values()), 4, hunyuan.width, hunyuan.rope)
    hunyuan.load_projections(packer)
    inputs = tiny_hunyuan.draw(layout, 2)
    levels = tuple(
        ContextLevel(kernel, inputs.context[name], times, torch.ones_like(times).bool())
        for name, kernel in tiny_hunyuan.KERNELS.items()
        for times in [torch.tensor([layout.context[name]] * 2)]
    )
    times = torch.tensor([layout.section] * 2)
    return hunyuan, packer, levels, (inputs, times)


@pytest.mark.parametrize("family", ["wan", "hunyuan"])
@torch.no_grad()
def test_heads_of_one_base_are_as_before_and_others_see_distances_alone(family: str) -> None:
    backbone, packer, levels, (inputs, times) = tiny_family(family)
    size = (inputs.noisy.shape[-2], inputs.noisy.shape[-1])

    def call(rope: RopeConfig | None, shift: int = 0) -> Tensor:
        moved = tuple(replace(level, times=level.times + shift) for level in levels)
        context = packer(moved, None, rope)
        section = backbone.prepare(times + shift, size, inputs.text, context, rope=rope)
        made: Tensor = backbone.denoise(inputs.noisy, inputs.timesteps, section)
        return made

    plain = call(None)
    same = replace(backbone.rope, time_bases=torch.full((2, backbone.heads), backbone.rope.theta))
    tiny_wan.assert_equal(call(same), plain)
    rope = jittered(backbone.rope, backbone.heads, [1, 2], 0.8)
    assert (call(rope) - plain).abs().max() > 1e-3
    if family == "wan":  # HunyuanVideo's text stands at no frame, so its tokens see absolute positions too
        torch.testing.assert_close(call(rope, 50), call(rope), atol=5e-5, rtol=0)
