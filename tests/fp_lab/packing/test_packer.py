import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fp_lab.packing.context import ContextConfig
from fp_lab.packing.packer import (
    ContextPacker,
    interpolate_projection,
    kernels_of,
    pad_to_kernel,
    patchify,
)
from fp_lab.packing.rope import RopeConfig
from fp_lab.recipe import BASE, Kernel, parse
from fp_lab.shapes import ContextLevel

ROPE = RopeConfig(256.0, (4, 6, 6))
CHANNELS, WIDTH = 3, 16


def level(
    kernel: Kernel, frames: int, *, items: int = 2, size: int = 8, known: int | None = None
) -> ContextLevel:
    generator = torch.Generator().manual_seed(frames)
    flags = torch.arange(frames)[None].expand(items, -1) < (frames if known is None else known)
    return ContextLevel(
        kernel=kernel,
        latents=torch.randn(items, CHANNELS, frames, size, size, generator=generator),
        times=torch.arange(frames)[None] + 10 * torch.arange(items)[:, None],
        known=flags,
    )


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_an_interpolated_level_is_the_base_projection_of_the_pooled_latent(n: int) -> None:
    base = nn.Conv3d(CHANNELS, WIDTH, (1, 2, 2), stride=(1, 2, 2))
    latents = torch.randn(2, CHANNELS, 2 * n, 4 * n, 4 * n)
    weight, bias = interpolate_projection(base, Kernel(n, 2 * n, 2 * n))
    projected = F.conv3d(latents, weight, bias, stride=(n, 2 * n, 2 * n))
    torch.testing.assert_close(projected, base(F.avg_pool3d(latents, n)), atol=1e-5, rtol=1e-5)


def test_tokens_are_those_of_the_convolution() -> None:
    projection = nn.Conv3d(CHANNELS, WIDTH, (4, 2, 8), stride=(4, 2, 8))
    latents = torch.randn(2, CHANNELS, 8, 6, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(patchify(projection, latents), projection(latents).flatten(2).mT)


def test_kernels_that_are_not_cubes_pool_each_axis_alone() -> None:
    base = nn.Conv3d(CHANNELS, WIDTH, (1, 2, 2), stride=(1, 2, 2))
    latents = torch.randn(1, CHANNELS, 3, 8, 8)
    weight, bias = interpolate_projection(base, Kernel(1, 4, 2))
    pooled = F.avg_pool3d(latents, (1, 2, 1))
    torch.testing.assert_close(
        F.conv3d(latents, weight, bias, stride=(1, 4, 2)), base(pooled), atol=1e-5, rtol=1e-5
    )


def test_a_kernel_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 6, 6\) .*\bmultiple .* \(1, 4, 4\)"):
        interpolate_projection(nn.Conv3d(1, 1, (1, 4, 4)), Kernel(2, 6, 6))


def test_frames_that_do_not_fill_a_kernel_repeat_the_last() -> None:
    latents = torch.arange(3.0).view(1, 1, 3, 1, 1).expand(1, 1, 3, 5, 6)
    padded = pad_to_kernel(latents, Kernel(4, 8, 8))
    assert padded.shape == (1, 1, 4, 8, 8)
    assert padded[0, 0, :, 7, 7].tolist() == [0, 1, 2, 2]


def test_the_recipe_names_the_projections() -> None:
    packer = ContextPacker(kernels_of(parse("f1k1_x_f16k4f2k2f1k1_g9")), CHANNELS, WIDTH, ROPE)
    assert sorted(packer.projections) == ["1x2x2", "2x4x4", "4x8x8"]


def test_gradient_reaches_every_projection() -> None:
    recipe = parse("td_f8k8f4k4f2k2f1k1_g9")
    packer = ContextPacker(kernels_of(recipe), CHANNELS, WIDTH, ROPE)
    context = tuple(level(entry.kernel, entry.frames) for entry in recipe.left.runs[0].levels)
    packed = packer(context)
    assert packed is not None
    packed.tokens.square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in packer.named_parameters()}
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values()), gradients


def test_initialised_levels_give_different_tokens_from_one_base() -> None:
    packer = ContextPacker([BASE, Kernel(2, 4, 4)], CHANNELS, WIDTH, ROPE)
    base = nn.Conv3d(CHANNELS, WIDTH, (1, 2, 2), stride=(1, 2, 2))
    packer.initialise_from(base)
    torch.testing.assert_close(packer.base_projection().weight, base.weight)
    coarse = packer.projections["2x4x4"]
    assert isinstance(coarse, nn.Conv3d)
    torch.testing.assert_close(coarse.weight.sum((2, 3, 4)), base.weight.sum((2, 3, 4)))


def test_a_batch_equals_its_items_one_by_one() -> None:
    packer = ContextPacker([Kernel(2, 4, 4)], CHANNELS, WIDTH, ROPE)
    whole = level(Kernel(2, 4, 4), 4)
    packed = packer((whole,))
    assert packed is not None
    for item in range(2):
        part = ContextLevel(
            whole.kernel,
            *(x[item : item + 1] for x in (whole.latents, whole.times, whole.known)),
        )
        alone = packer((part,))
        assert alone is not None
        torch.testing.assert_close(packed.tokens[item], alone.tokens[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(packed.phases.cos[item], alone.phases.cos[0])
    assert not torch.equal(packed.phases.cos[0], packed.phases.cos[1]), "frame indices are per item"


def test_tokens_without_a_known_frame_are_left_out() -> None:
    packer = ContextPacker([Kernel(2, 4, 4)], CHANNELS, WIDTH, ROPE)
    packed = packer((level(Kernel(2, 4, 4), 6, known=3),))
    assert packed is not None
    assert packed.tokens.shape[1] == 2 * 4, "two of three kernels hold a known frame"
    assert packed.mask is None
    assert packer((level(Kernel(2, 4, 4), 6, known=0),)) is None


def test_items_of_unequal_history_are_masked() -> None:
    packer = ContextPacker([BASE], CHANNELS, WIDTH, ROPE)
    whole = level(BASE, 2)
    known = torch.tensor([[True, True], [True, False]])
    packed = packer((ContextLevel(BASE, whole.latents, whole.times, known),))
    assert packed is not None
    assert packed.mask is not None
    assert packed.mask.sum(1).tolist() == [32, 16]


@pytest.mark.parametrize(
    ("timestep", "told"), [("same", None), ("zero", [0.0, 0.0]), ("level", [0.0, 500.0])]
)
def test_a_context_is_told_as_its_option_says(timestep: str, told: list[float] | None) -> None:
    config = ContextConfig(timestep=timestep)  # type: ignore[arg-type]
    packer = ContextPacker([BASE], CHANNELS, WIDTH, ROPE, config)
    packed = packer((level(BASE, 2),), torch.tensor([0.0, 0.5]))
    assert packed is not None
    assert (None if packed.timesteps is None else packed.timesteps[:, 0].tolist()) == told
    clean = packer((level(BASE, 2),))
    assert clean is not None
    assert clean.timesteps is None or (clean.timesteps == 0).all()


def test_options_reach_the_packed_context() -> None:
    plain = ContextPacker([BASE], CHANNELS, WIDTH, ROPE)((level(BASE, 2),))
    config = ContextConfig(text="noisy", amplify=True)
    packer = ContextPacker([BASE], CHANNELS, WIDTH, ROPE, config, (3, 2))
    assert packer.amplification is not None
    with torch.no_grad():
        packer.amplification.fill_(0.5)
    packed = packer((level(BASE, 2),))
    assert plain is not None
    assert packed is not None
    assert (plain.reads_text, plain.key_scale) == (True, None)
    assert not packed.reads_text
    assert packed.key_scale is not None
    torch.testing.assert_close(packed.key_scale, torch.full((3, 2), 0.5).exp())


def test_midpoint_phases_are_unit_phasors_in_the_middle_of_the_box() -> None:
    kernel = Kernel(2, 4, 4)
    averaged, midpoint = (
        ContextPacker([kernel], CHANNELS, WIDTH, ROPE, ContextConfig(phases=option))((level(kernel, 4),))
        for option in ("averaged", "midpoint")
    )
    assert averaged is not None
    assert midpoint is not None
    length = (midpoint.phases.cos.square() + midpoint.phases.sin.square()).sqrt()
    torch.testing.assert_close(length, torch.ones_like(length))
    assert (averaged.phases.cos.square() + averaged.phases.sin.square()).min() < 0.98
    torch.testing.assert_close(midpoint.phases.cos[0, 0, 0], torch.tensor(0.5).cos())
    angle = torch.atan2(averaged.phases.sin[0, 0, 0], averaged.phases.cos[0, 0, 0])
    torch.testing.assert_close(angle, torch.tensor(0.5))
