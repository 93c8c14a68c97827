"""Pixels to latents and back, over diffusers autoencoders.

A codec normalises its latents exactly once, with per-channel statistics stored beside its weights,
so everything behind it sees latents of zero mean and unit variance.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import Tensor

from fp_lab.checks.finite import check_weights
from fp_lab.checks.plain import from_plain
from fp_lab.checks.ranges import check_ranges
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.weights.files import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    building,
    file_sha256,
    read_config,
    read_weights,
    tensors_sha256,
)
from fp_lab.weights.shipped import own_folder

_FRAMES_AT_ONCE = 256  # bounds activation memory; the result does not depend on it


@dataclass(frozen=True)
class CodecConfig:
    """Architecture of the small convolutional autoencoder (`diffusers.AutoencoderDC` without attention).

    Attributes:
        latent_channels: channels of a latent frame.
        channels: width per resolution, full resolution first; 4x spatial compression takes three, 8x four.
        encoder_layers: residual blocks per resolution; 0 at full resolution goes straight to pixel-unshuffle.
        decoder_layers: the same for the decoder.
    """

    latent_channels: int = 4
    channels: tuple[int, ...] = (16, 32, 64)
    encoder_layers: tuple[int, ...] = (0, 1, 1)
    decoder_layers: tuple[int, ...] = (0, 2, 2)

    @property
    def spatial(self) -> int:
        """Pixels per latent, along height and along width."""
        return int(2 ** (len(self.channels) - 1))

    def __post_init__(self) -> None:
        """Check that every resolution is described once."""
        if not len(self.channels) == len(self.encoder_layers) == len(self.decoder_layers):
            raise ValueError(
                "codec channels, encoder_layers and decoder_layers need one entry per resolution, "
                f"got {len(self.channels)}, {len(self.encoder_layers)} and {len(self.decoder_layers)}"
            )
        layers = {"encoder_layers": "[0, inf)", "decoder_layers": "[0, inf)"}
        check_ranges("codec", self, latent_channels="[1, inf)", channels="[1, inf)", **layers)


class Codec(LatentCodec):
    """Encode videos frame by frame: pixels ``b c t h w`` in [-1, 1] <-> latents ``b c t h/s w/s``."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: CodecConfig) -> None:
        from diffusers import AutoencoderDC  # slow to import

        super().__init__()
        self.config = config
        resolutions = len(config.channels)
        self.autoencoder = AutoencoderDC(
            in_channels=3,
            latent_channels=config.latent_channels,
            encoder_block_types="ResBlock",
            decoder_block_types="ResBlock",
            encoder_block_out_channels=config.channels,
            decoder_block_out_channels=config.channels,
            encoder_layers_per_block=config.encoder_layers,
            decoder_layers_per_block=config.decoder_layers,
            encoder_qkv_multiscales=((),) * resolutions,
            decoder_qkv_multiscales=((),) * resolutions,
            downsample_block_type="pixel_unshuffle",
            upsample_block_type="pixel_shuffle",
            scaling_factor=1.0,
        )
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels))
        self.register_buffer("latent_std", torch.ones(config.latent_channels))
        self._sha256 = "untrained"

    @property
    def channels(self) -> int:
        """Channels of a latent frame."""
        return self.config.latent_channels

    @property
    def spatial(self) -> int:
        """Pixels per latent, along height and along width."""
        return self.config.spatial

    @property
    def temporal(self) -> int:
        """Pixel frames per latent frame."""
        return 1

    @property
    def sha256(self) -> str:
        """Digest of the stored weights; ``untrained`` before there are any."""
        return self._sha256

    @property
    def encoder_sha256(self) -> str:
        """Digest of what latents depend on: the encoder and the latent statistics, not the decoder."""
        return tensors_sha256({k: v for k, v in self.state_dict().items() if ".decoder." not in k})

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode a batch of videos.

        Args:
            pixels: ``b c t h w`` in [-1, 1]; h and w multiples of `spatial`.

        Returns:
            Normalised latents ``b c t h w``.
        """
        height, width = pixels.shape[-2:]
        if height % self.spatial or width % self.spatial:
            raise ValueError(
                f"codec needs height and width divisible by {self.spatial}, got {height}x{width}"
            )
        frames = rearrange(pixels, "b c t h w -> (b t) c h w")
        latents = torch.cat([self.encode_raw(part) for part in frames.split(_FRAMES_AT_ONCE)])
        latents = (latents - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]
        return rearrange(latents, "(b t) c h w -> b c t h w", b=len(pixels))

    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        """Decode normalised latents ``b c t h w`` to pixels ``b c t h w``.

        Args:
            latents: normalised.
            clamp: to [-1, 1].
        """
        frames = rearrange(latents, "b c t h w -> (b t) c h w")
        frames = frames * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        pixels = torch.cat([self.decode_raw(part) for part in frames.split(_FRAMES_AT_ONCE)])
        pixels = rearrange(pixels, "(b t) c h w -> b c t h w", b=len(latents))
        return pixels.clamp(-1, 1) if clamp else pixels

    def encode_raw(self, frames: Tensor) -> Tensor:
        """Latents ``n c h w`` of frames ``n c h w`` as the autoencoder gives them, not normalised."""
        latents: Tensor = self.autoencoder.encode(frames).latent
        return latents

    def decode_raw(self, latents: Tensor) -> Tensor:
        """Frames ``n c h w`` of latents that are not normalised."""
        frames: Tensor = self.autoencoder.decode(latents).sample
        return frames

    def save(self, folder: Path) -> None:
        """Write config and weights (safetensors) into a folder.

        Raises:
            NotFinite: weights are not; nothing is written.
        """
        check_weights(self.state_dict(), f"codec for {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self.config), indent=2) + "\n")
        save_file({k: v.contiguous() for k, v in self.state_dict().items()}, folder / WEIGHTS_FILE)
        shutil.copymode(folder / CONFIG_FILE, folder / WEIGHTS_FILE)  # made for its owner alone
        self._sha256 = file_sha256(folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, source: str | Path = "shipped") -> "Codec":
        """Load a codec.

        Args:
            source: ``shipped`` for the one that comes with fp_lab, or a folder written by `save`.

        Raises:
            ValueError: if the folder holds no codec, or weights that are not finite.
        """
        folder = own_folder("codec", source)
        config, weights = codec_config(source), read_weights(folder / WEIGHTS_FILE)
        with building(folder / CONFIG_FILE):
            codec = cls(config)
            codec.load_state_dict(weights)
        check_weights(codec.state_dict(), str(folder))
        codec._sha256 = file_sha256(folder / WEIGHTS_FILE)
        return codec.eval().requires_grad_(False)


def codec_config(source: str | Path = "shipped") -> CodecConfig:
    """Architecture of a codec, whose weights are not loaded; arguments and errors of `Codec.load`."""
    folder = own_folder("codec", source)
    if not (folder / WEIGHTS_FILE).is_file():
        raise ValueError(
            f"no codec in {folder}: expected {CONFIG_FILE} and {WEIGHTS_FILE}; "
            "train one with `fp-lab codec train` or use codec.source=shipped"
        )
    path = folder / CONFIG_FILE
    found = path.stat() if path.is_file() else None
    return _read_config(path, found and (found.st_mtime_ns, found.st_size, found.st_ino))


@lru_cache(maxsize=8)
def _read_config(path: Path, state: tuple[int, int, int] | None) -> CodecConfig:
    """What a file holds, read once for each of its states: the arms of a grid share a codec."""
    stored = read_config(path)
    with building(path):
        return from_plain(CodecConfig, stored)
