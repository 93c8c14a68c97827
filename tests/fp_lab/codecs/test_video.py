"""Codecs over diffusers' video VAEs, against the VAEs themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLHunyuanVideo, AutoencoderKLWan
from safetensors.torch import load_file, save_file
from torch import Tensor

from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.codecs.video import VideoCodec, latent_frames, load_codec, pixel_frames


def hunyuan() -> AutoencoderKLHunyuanVideo:
    torch.manual_seed(0)
    return AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4
    ).eval()


def wan() -> AutoencoderKLWan:
    torch.manual_seed(0)
    return AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval()


def wan_22() -> AutoencoderKLWan:
    """The later one: patches of 2 pixels before the network, 16 pixels per latent."""
    torch.manual_seed(0)
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.5, -0.25, 0.0, 1.0],
        latents_std=[2.0, 0.5, 1.0, 1.5],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
    ).eval()


ALL = pytest.mark.parametrize("make", [hunyuan, wan, wan_22])


def video(frames: int = 9, height: int = 32, width: int = 48) -> Tensor:
    return torch.rand(2, 3, frames, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1


def normalised(autoencoder: Any, latents: Tensor) -> Tensor:
    """As diffusers' pipelines write it."""
    config = autoencoder.config
    if "scaling_factor" in config:
        return latents * config.scaling_factor
    mean = torch.tensor(config.latents_mean).view(1, -1, 1, 1, 1)
    std = 1.0 / torch.tensor(config.latents_std).view(1, -1, 1, 1, 1)
    return (latents - mean) * std


@ALL
@torch.no_grad()
def test_latents_are_the_mode_normalised_exactly_once(make: Callable[[], Any]) -> None:
    codec = VideoCodec(make())
    latents = codec.encode(video())
    spread = codec.autoencoder.encode(video()).latent_dist
    assert latents.shape == (2, codec.channels, 3, 32 // codec.spatial, 48 // codec.spatial)
    assert torch.equal(latents, normalised(codec.autoencoder, spread.mode()))
    assert torch.equal(latents, codec.encode(video()))
    drawn = codec.encode(video(), generator=torch.Generator().manual_seed(3))
    sample = spread.sample(torch.Generator().manual_seed(3))
    assert torch.equal(drawn, normalised(codec.autoencoder, sample))
    assert not torch.equal(drawn, latents)


@ALL
@torch.no_grad()
def test_decoding_takes_the_normalisation_back(make: Callable[[], Any]) -> None:
    codec = VideoCodec(make())
    for weight in codec.autoencoder.decoder.conv_out.parameters():
        weight.mul_(20)  # so that there is something to clamp
    raw = codec.autoencoder.encode(video()).latent_dist.mode()
    reference = codec.autoencoder.decode(raw).sample
    pixels = codec.decode(codec.encode(video()))
    assert pixels.shape == video().shape
    assert pixels.abs().max() == 1
    torch.testing.assert_close(pixels, reference.clamp(-1, 1), atol=1e-3, rtol=0)
    free = codec.decode(codec.encode(video()), clamp=False)
    torch.testing.assert_close(free, reference, atol=1e-3, rtol=0)


def test_the_released_sizes() -> None:
    assert [VideoCodec(make()).spatial for make in (hunyuan, wan, wan_22)] == [8, 8, 16]
    assert [VideoCodec(make()).temporal for make in (hunyuan, wan, wan_22)] == [4, 4, 4]
    assert Codec(CodecConfig()).temporal == 1


def test_lengths_come_in_steps() -> None:
    assert [latent_frames(frames, 4) for frames in (1, 5, 9, 129)] == [1, 2, 3, 33]
    assert [pixel_frames(frames, 4) for frames in (1, 2, 3, 33)] == [1, 5, 9, 129]
    assert latent_frames(7, 1) == pixel_frames(7, 1) == 7
    with pytest.raises(ValueError, match=r"1 \+ 4n .*got 7; .*\b5 or 9$"):
        latent_frames(7, 4)
    with pytest.raises(ValueError, match=r"1 \+ 4n .*got 0; .* 1$"):
        latent_frames(0, 4)


@ALL
def test_errors_say_what_came(make: Callable[[], Any]) -> None:
    codec = VideoCodec(make())
    with pytest.raises(ValueError, match=r"1 \+ 4n .*got 6;"):
        codec.encode(video(6))
    with pytest.raises(ValueError, match=f" {codec.spatial}, got 36x48"):
        codec.encode(video(height=36))
    with pytest.raises(ValueError, match=f"latents .*{codec.channels} channels, got 5"):
        codec.decode(torch.zeros(1, 5, 1, 4, 4))


@ALL
@pytest.mark.parametrize("place", ["", "vae"])
@torch.no_grad()
def test_loads_a_vae_alone_or_in_a_pipeline(make: Callable[[], Any], place: str, tmp_path: Path) -> None:
    original = VideoCodec(make())
    original.autoencoder.save_pretrained(tmp_path / place)
    codec = load_codec(tmp_path)
    assert isinstance(codec, VideoCodec)
    assert type(codec.autoencoder) is type(original.autoencoder)
    assert (codec.sha256, codec.encoder_sha256) == (original.sha256, original.encoder_sha256)
    assert not codec.training
    assert not any(weight.requires_grad for weight in codec.parameters())
    torch.testing.assert_close(codec.encode(video()), original.encode(video()), atol=1e-5, rtol=0)


@ALL
@torch.no_grad()
def test_digests_follow_what_they_are_of(make: Callable[[], Any]) -> None:
    codec = VideoCodec(make())
    both, encoder = codec.sha256, codec.encoder_sha256
    next(codec.autoencoder.decoder.parameters()).add_(1)
    assert codec.sha256 != both
    assert codec.encoder_sha256 == encoder
    codec.statistics.scale[0] += 1
    assert codec.encoder_sha256 != encoder
    encoder = codec.encoder_sha256
    next(codec.autoencoder.encoder.parameters()).add_(1)
    assert codec.encoder_sha256 != encoder


@torch.no_grad()
def test_half_precision_leaves_statistics_and_types_alone(tmp_path: Path) -> None:
    wan().save_pretrained(tmp_path)
    full, half = VideoCodec.load(tmp_path), VideoCodec.load(tmp_path, torch.bfloat16)
    moved = VideoCodec.load(tmp_path).to(torch.bfloat16)
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    assert half.encoder_sha256 == moved.encoder_sha256 != full.encoder_sha256
    assert torch.equal(moved.statistics.scale, full.statistics.scale)
    latents = half.encode(video())
    assert latents.dtype == half.decode(latents).dtype == torch.float32
    torch.testing.assert_close(latents, full.encode(video()), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("make", [hunyuan, wan])
@torch.no_grad()
def test_slices_and_tiles(make: Callable[[], Any], tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    plain, saving = VideoCodec.load(tmp_path), VideoCodec.load(tmp_path, tiling=True, slicing=True)
    latents = plain.encode(video())
    torch.testing.assert_close(saving.encode(video()), latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(saving.decode(latents), plain.decode(latents), atol=1e-4, rtol=0)
    seen: list[tuple[int, ...]] = []
    for part in (saving.autoencoder.encoder, saving.autoencoder.decoder):
        part.register_forward_pre_hook(lambda part, given: seen.append(tuple(given[0].shape)))
    wide = video(1, 16, 320)
    assert saving.decode(saving.encode(wide)).shape == wide.shape
    assert {shape[0] for shape in seen} == {1}
    assert max(shape[-1] for shape in seen) == 256


def test_chooses_the_kind_by_the_config(tmp_path: Path) -> None:
    assert isinstance(load_codec(), Codec)
    Codec(CodecConfig(4, (4, 4), (0, 1), (0, 1))).save(tmp_path)
    assert isinstance(load_codec(tmp_path, torch.bfloat16, tiling=True), Codec)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(ValueError, match=r"got 'nobody/nothing', .*`hf download "):
        load_codec("nobody/nothing")
    with pytest.raises(ValueError, match=r"config\.json .*vae/.*`hf download "):
        load_codec(tmp_path)
    wan().save_pretrained(tmp_path / "vae")
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no diffusion_pytorch_model.safetensors in .*vae, expected"):
        load_codec(tmp_path)


def test_a_hub_id_is_found_in_the_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stored = tmp_path / "models--some--pipeline"
    wan().save_pretrained(stored / "snapshots" / ("0" * 40) / "vae")
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text("0" * 40)
    assert VideoCodec.load("some/pipeline").sha256 == VideoCodec(wan()).sha256


@pytest.mark.parametrize("missing", [True, False])
def test_a_vae_with_other_weights_than_its_own_is_refused(*, missing: bool, tmp_path: Path) -> None:
    wan().save_pretrained(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    if missing:
        del state["quant_conv.bias"]
    else:
        state["odd"] = torch.ones(1)
    save_file(state, file, {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 missing, quant_conv\.bias" if missing else "1 unexpected, odd"):
        load_codec(tmp_path)


def test_another_kind_of_vae_is_refused(tmp_path: Path) -> None:
    wan().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "_class_name": "AutoencoderKL"}))
    with pytest.raises(ValueError, match=r"AutoencoderKL, expected .*AutoencoderKLHunyuanVideo, "):
        load_codec(tmp_path)
