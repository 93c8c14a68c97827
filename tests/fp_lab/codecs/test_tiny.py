from pathlib import Path

import pytest
import torch

from fp_lab.codecs import tiny
from fp_lab.codecs.tiny import Codec, CodecConfig, codec_config
from fp_lab.training.codec_system import fit_latent_statistics

TINY = CodecConfig(
    latent_channels=4, channels=(8, 8, 8, 8), encoder_layers=(0, 1, 1, 1), decoder_layers=(0, 1, 1, 1)
)


def test_shapes_and_frames_are_independent() -> None:
    codec = Codec(TINY).eval()
    pixels = torch.rand(2, 3, 5, 16, 24) * 2 - 1
    with torch.no_grad():
        latents = codec.encode(pixels)
        assert latents.shape == (2, 4, 5, 2, 3)
        assert codec.decode(latents).shape == pixels.shape
        torch.testing.assert_close(codec.encode(pixels[:, :, 2:3]), latents[:, :, 2:3], atol=1e-5, rtol=1e-4)


def test_latents_are_normalised_exactly_once() -> None:
    torch.manual_seed(0)
    codec = Codec(TINY).eval()
    frames = torch.rand(64, 3, 16, 16) * 2 - 1
    fit_latent_statistics(codec, frames)
    with torch.no_grad():
        latents = codec.encode(frames[:, :, None])
        torch.testing.assert_close(latents.mean((0, 2, 3, 4)), torch.zeros(4), atol=1e-4, rtol=0)
        torch.testing.assert_close(latents.std((0, 2, 3, 4)), torch.ones(4), atol=1e-2, rtol=0)
        raw = codec.encode_raw(frames)
        torch.testing.assert_close(
            codec.decode(latents)[:, :, 0], codec.decode_raw(raw).clamp(-1, 1), atol=1e-4, rtol=0
        )


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    codec = Codec(TINY).eval()
    fit_latent_statistics(codec, torch.rand(8, 3, 16, 16))
    codec.save(tmp_path)
    loaded = Codec.load(tmp_path)
    assert loaded.sha256 == codec.sha256
    assert loaded.config == TINY
    pixels = torch.rand(1, 3, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded.encode(pixels), codec.encode(pixels))


def test_errors_say_what_came() -> None:
    with pytest.raises(ValueError, match="8, got 20x16"):
        Codec(TINY).encode(torch.zeros(1, 3, 1, 20, 16))
    with pytest.raises(ValueError, match="fp-lab codec train"):
        Codec.load("/nowhere")
    with pytest.raises(ValueError, match="got 3, 2 and 3"):
        CodecConfig(encoder_layers=(0, 1))


def test_the_config_of_a_codec_is_read_once_for_each_of_its_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = tiny.read_config
    monkeypatch.setattr(tiny, "read_config", lambda path: (read.append(path), real(path))[1])
    for channels in (4, 8):
        Codec(CodecConfig(channels, (4, 4, 8, 8), (0, 1, 1, 1), (0, 1, 1, 1))).save(tmp_path)
        assert [codec_config(tmp_path).latent_channels for _ in range(3)] == [channels] * 3
    assert len(read) == 2
