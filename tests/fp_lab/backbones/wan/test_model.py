"""The adapter against diffusers' own Wan and Helios, on shared random weights."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file
from torch import Tensor

from fp_lab.backbones.diffusers.families import load_transformer
from fp_lab.backbones.protocol import Backbone
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.backbones.wan.model import Wan
from fp_lab.packing.packer import ContextPacker, projection_name
from fp_lab.recipe import BASE, Kernel
from tiny_wan import (
    CONFIGS,
    KERNELS,
    LEVELS,
    OFFSETS,
    TEXT,
    Inputs,
    adapter,
    assert_equal,
    diffusers_model,
    draw,
    history,
    packer,
)

SIZES = {"full patches": (6, 10), "odd": (7, 5)}


@torch.no_grad()
def by_diffusers(inputs: Inputs, model: WanTransformer3DModel, timesteps: Tensor | None = None) -> Tensor:
    """diffusers' own call, which counts frames from 0 and needs whole patches."""
    rows, columns = inputs.noisy.shape[-2:]
    noisy = F.pad(inputs.noisy, (0, columns % 2, 0, rows % 2, 0, 0), mode="replicate")
    steps = inputs.timesteps if timesteps is None else timesteps
    if steps.ndim == 2:
        steps = steps.repeat_interleave(noisy.shape[-2] * noisy.shape[-1] // 4, 1)
    extra = model.config.in_channels - noisy.shape[1]
    image = inputs.text.image
    if model.config.pos_embed_seq_len:
        assert image is not None
        image = torch.stack(image.chunk(2, 1), 1).flatten(0, 1)  # first and last frame are items of the batch
    output: Tensor = model(
        F.pad(noisy, (0, 0, 0, 0, 0, 0, 0, extra)), steps, inputs.text.tokens, image, return_dict=False
    )[0]
    return output[..., :rows, :columns]


@pytest.mark.parametrize("per_frame", [False, True], ids=["one timestep", "timesteps per frame"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("kind", CONFIGS)
def test_without_history_it_is_diffusers_transformer(
    kind: str, size: tuple[int, int], *, per_frame: bool
) -> None:
    inputs = draw(kind, size)
    steps = inputs.timesteps
    if per_frame:
        steps = steps[:, None] * torch.tensor([0.2, 1.0, 0.6])
    times = torch.arange(3).expand(2, -1)
    ours = inputs.through(adapter(kind), times=times, timesteps=steps, context=None)
    assert_equal(ours, by_diffusers(inputs, diffusers_model(kind), steps))


def test_only_distances_between_frame_indices_matter() -> None:
    inputs = draw()
    moved = inputs.through(adapter(), context=None)
    assert_equal(moved, by_diffusers(inputs, diffusers_model()))
    stretched = inputs.through(adapter(), times=inputs.times * 2, context=None)
    assert (stretched - moved).abs().max() > 1e-3


@cache
def helios(zero_timestep: bool, only_noisy_reads: bool, amplified: bool) -> Any:
    """Our transformer's weights and our packer's projections in diffusers' Helios.

    All of Wan's weights have a place there, one under another name. Helios adds a projection for each of
    three levels, which are a packer's here, and with `is_amplify_history` factors of the history's keys per
    block and head, 1 + 9 sigmoid(p), which are a context's here.
    """
    wan = adapter()
    projections = packer(wan).projections
    model = diffusers.HeliosTransformer3DModel(
        **TEXT,
        rope_dim=wan.rope.axes,
        zero_history_timestep=zero_timestep,
        guidance_cross_attn=only_noisy_reads,
        is_amplify_history=amplified,
    ).eval()
    state = wan.transformer.state_dict()
    state["norm_out.scale_shift_table"] = state.pop("scale_shift_table")
    for name, kernel in KERNELS.items():
        projection = projections[projection_name(kernel)]
        state |= {f"patch_{name}.{key}": value for key, value in projection.state_dict().items()}
    if amplified:
        state |= {
            f"blocks.{i}.attn1.history_key_scale": parameter for i, parameter in enumerate(AMPLIFICATION)
        }
    model.load_state_dict(state)
    return model


AMPLIFICATION = torch.tensor([[-1.0, 0.3], [0.0, -4.0]])


@torch.no_grad()
def by_helios(inputs: Inputs, model: Any, size: tuple[int, int]) -> Tensor:
    offsets = torch.tensor(OFFSETS)[:, None]
    arguments: dict[str, Any] = {f"latents_history_{name}": history(name, size) for name in LEVELS}
    arguments |= {
        f"indices_latents_history_{name}": torch.tensor(times) + offsets for name, times in LEVELS.items()
    }
    output: Tensor = model(
        inputs.noisy,
        inputs.timesteps,
        inputs.text.tokens,
        indices_hidden_states=inputs.times,
        **arguments,
        return_dict=False,
    )[0]
    return output


@pytest.mark.skipif(not hasattr(diffusers, "HeliosTransformer3DModel"), reason="before diffusers 0.37")
@pytest.mark.parametrize("size", [(8, 16), (6, 10)], ids=["full kernels", "padded kernels"])
@pytest.mark.parametrize("zero_timestep", [False, True])
@pytest.mark.parametrize("only_noisy_reads", [False, True])
@pytest.mark.parametrize("amplified", [False, True])
def test_with_history_it_is_diffusers_helios(
    size: tuple[int, int], *, zero_timestep: bool, only_noisy_reads: bool, amplified: bool
) -> None:
    """The whole forward: packing, phases, blocks, output, with each of the options that Helios has."""
    inputs = draw(size=size)
    context = replace(
        inputs.context,
        timesteps=torch.zeros(2, 1) if zero_timestep else None,
        reads_text=not only_noisy_reads,
        key_scale=1 + 9 * AMPLIFICATION.sigmoid() if amplified else None,
    )
    theirs = by_helios(inputs, helios(zero_timestep, only_noisy_reads, amplified), size)
    assert_equal(inputs.through(adapter(), context=context), theirs)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_state_dict_is_that_of_diffusers(kind: str, tmp_path: Path) -> None:
    theirs = diffusers_model(kind).state_dict()
    assert list(adapter(kind).state_dict()) == [f"transformer.{name}" for name in theirs]
    adapter(kind).transformer.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "diffusion_pytorch_model.safetensors")
    assert saved.keys() == theirs.keys()
    assert all(torch.equal(saved[name], value) for name, value in theirs.items())


def test_weights_are_read_from_a_folder(tmp_path: Path) -> None:
    inputs = draw("image")
    diffusers_model("image").save_pretrained(tmp_path / "transformer")
    loaded = load_transformer(tmp_path)
    assert isinstance(loaded, Backbone)
    assert (loaded.width, loaded.channels, loaded.depth, loaded.heads) == (32, 4, 2, 2)
    assert torch.equal(inputs.through(loaded), inputs.through(adapter("image")))


def test_weights_in_bfloat16_give_what_diffusers_gives(tmp_path: Path) -> None:
    inputs = draw("image")
    diffusers_model("image").save_pretrained(tmp_path)
    half = load_transformer(tmp_path, torch_dtype=torch.bfloat16)
    ours = inputs.through(half, times=torch.arange(3).expand(2, -1), context=None)
    assert ours.dtype == torch.float32, "of the latents, as a solver needs it"
    assert inputs.text.image is not None
    text = WanCondition(inputs.text.tokens.bfloat16(), image=inputs.text.image.bfloat16())
    in_half = replace(inputs, noisy=inputs.noisy.bfloat16(), text=text)
    theirs = by_diffusers(
        in_half, WanTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    )
    assert (ours - theirs.float()).abs().mean() < 0.02 * ours.abs().mean()


def test_the_wrapped_module_still_works_alone() -> None:
    for kind in CONFIGS:
        inputs = draw(kind)
        wrapped = by_diffusers(inputs, adapter(kind).transformer)
        assert torch.equal(wrapped, by_diffusers(inputs, diffusers_model(kind)))


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_packer_starts_from_the_projection_of_noisy_latents(kind: str) -> None:
    wan, latents = adapter(kind), torch.randn(1, 4, 2, 4, 4)
    made = ContextPacker([BASE, Kernel(2, 4, 4)], wan.channels, wan.width, wan.rope)
    made.initialise_from(wan.patch)
    zeros = torch.zeros(1, wan.transformer.config.in_channels - 4, 2, 4, 4)
    theirs = wan.transformer.patch_embedding(torch.cat((latents, zeros), 1))
    torch.testing.assert_close(made.base_projection()(latents), theirs, atol=1e-6, rtol=0)


def test_sizes_of_the_released_model_without_its_weights() -> None:
    with torch.device("meta"):
        wan = Wan(
            WanTransformer3DModel(
                num_attention_heads=12, in_channels=36, ffn_dim=8960, num_layers=1, image_dim=1280
            )
        )
    assert (wan.width, wan.channels, wan.depth, wan.heads) == (1536, 16, 1, 12)
    assert (wan.rope.theta, wan.rope.axes) == (1e4, (44, 42, 42))
    assert wan.patch.weight.shape == (1536, 16, 1, 2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": (1, 4, 4)}, r"patch .*\(1, 4, 4\), expected \(1, 2, 2\)"),
        ({"in_channels": 2}, r"\b2 .*channels, expected .*\b4\b"),
    ],
)
def test_other_transformers_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Wan(WanTransformer3DModel(**TEXT | change))
