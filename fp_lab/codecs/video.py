"""Pixels to latents and back in space and time, over the video VAEs of HunyuanVideo and Wan in diffusers.

Their latents are normalised exactly once, with the statistics in the VAE's own config: behind a codec nobody
knows whose they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

from fp_lab.checks.finite import check_weights
from fp_lab.codecs.protocol import CODECS, LatentCodec
from fp_lab.codecs.tiny import Codec
from fp_lab.weights.files import CONFIG_FILE, building, read_config, tensors_sha256
from fp_lab.weights.hub import load_whole, local_folder

if TYPE_CHECKING:
    from diffusers import AutoencoderKLHunyuanVideo, AutoencoderKLWan

Autoencoder: TypeAlias = "AutoencoderKLHunyuanVideo | AutoencoderKLWan"
_WAN = "AutoencoderKLWan"
AUTOENCODERS = ("AutoencoderKLHunyuanVideo", _WAN)
"""Classes of diffusers, by the `_class_name` of a config."""
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_FILES = (_WEIGHTS, f"{_WEIGHTS}.index.json", "diffusion_pytorch_model-*.safetensors")
_SUBFOLDER = "vae"  # where the folder of a whole pipeline has it
_GET_ONE = (
    "get one with `hf download hunyuanvideo-community/HunyuanVideo --include 'vae/*' --local-dir FOLDER` "
    "(Wan: Wan-AI/Wan2.1-T2V-1.3B-Diffusers) and give FOLDER as the source"
)

_ADVICE = f"for a codec use codec.source=shipped, or {_GET_ONE}"


@dataclass(frozen=True, eq=False)
class LatentStatistics:
    """How a VAE's latents become normalised: (z - mean) * scale, per channel, float32 ``c``.

    A scale is kept, not its inverse: this is how diffusers' pipelines compute, to the last bit.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, autoencoder: "Autoencoder") -> "LatentStatistics":
        """Those in the config of a VAE."""
        config = autoencoder.config
        if _is_wan(autoencoder):
            return cls(torch.tensor(config.latents_mean), 1 / torch.tensor(config.latents_std))
        channels = config.latent_channels
        return cls(torch.zeros(channels), torch.full((channels,), config.scaling_factor))

    def normalise(self, latents: Tensor) -> Tensor:
        """Latents ``b c t h w`` of the VAE, normalised."""
        return (latents - _per_channel(self.mean, latents)) * _per_channel(self.scale, latents)

    def restore(self, latents: Tensor) -> Tensor:
        """Normalised latents ``b c t h w`` as the VAE knows them."""
        return latents / _per_channel(self.scale, latents) + _per_channel(self.mean, latents)


class VideoCodec(LatentCodec):
    """Encode videos: pixels ``b c 1+4(t-1) h w`` in [-1, 1] <-> latents ``b c t h/8 w/8``; see `Codec`.

    The first frame has a latent frame of its own, every further latent frame stands for `temporal` frames.
    """

    def __init__(self, autoencoder: "Autoencoder") -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.statistics = LatentStatistics.of(autoencoder)  # no buffers: those would follow .to(bfloat16)

    @property
    def channels(self) -> int:
        """Channels of a latent frame."""
        return len(self.statistics.mean)

    @property
    def spatial(self) -> int:
        """Pixels per latent, along height and along width."""
        return int(self.autoencoder.spatial_compression_ratio)

    @property
    def temporal(self) -> int:
        """Pixel frames per latent frame, but for the first, which has one."""
        if _is_wan(self.autoencoder):
            return int(self.autoencoder.config.scale_factor_temporal)
        return int(self.autoencoder.temporal_compression_ratio)

    @property
    def sha256(self) -> str:
        """Digest of weights and latent statistics."""
        return tensors_sha256(self._identity())

    @property
    def encoder_sha256(self) -> str:
        """Digest of what latents depend on: the encoder and the latent statistics, not the decoder."""
        decoding = ("autoencoder.decoder.", "autoencoder.post_quant_conv.")
        return tensors_sha256({k: v for k, v in self._identity().items() if not k.startswith(decoding)})

    def encode(self, pixels: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Encode a batch of videos.

        Args:
            pixels: ``b c t h w`` in [-1, 1]; h and w multiples of `spatial`, t one more than a multiple of
                `temporal`.
            generator: draws from the VAE's distribution; None for its mode, which is deterministic.

        Returns:
            Normalised latents ``b c t h w``, in the type of the pixels.

        Raises:
            ValueError: another size or length.
        """
        height, width = pixels.shape[-2:]
        if height % self.spatial or width % self.spatial:
            raise ValueError(
                f"codec needs height and width divisible by {self.spatial}, got {height}x{width}"
            )
        latent_frames(pixels.shape[2], self.temporal)
        spread = self.autoencoder.encode(pixels.to(self.autoencoder.dtype)).latent_dist
        raw: Tensor = spread.mode() if generator is None else spread.sample(generator)
        return self.statistics.normalise(raw.float()).to(pixels.dtype)

    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        """Decode a batch of videos.

        Args:
            latents: normalised, ``b c t h w``.
            clamp: to [-1, 1]. (Wan's VAE does so anyway.)

        Returns:
            Pixels ``b c t h w``, in the type of the latents.

        Raises:
            ValueError: latents of another codec's channels.
        """
        if latents.shape[1] != self.channels:
            raise ValueError(f"codec needs latents of {self.channels} channels, got {latents.shape[1]}")
        raw = self.statistics.restore(latents.float())
        pixels: Tensor = self.autoencoder.decode(raw.to(self.autoencoder.dtype)).sample.to(latents.dtype)
        return pixels.clamp(-1, 1) if clamp else pixels

    @classmethod
    def load(
        cls,
        source: str | Path,
        dtype: torch.dtype | None = None,
        tiling: bool = False,
        slicing: bool = False,
    ) -> "VideoCodec":
        """Load a VAE in diffusers' format.

        Args:
            source: a folder or a hub id, of the VAE or of a pipeline that has it in ``vae/``.
            dtype: of weights and arithmetic; None for float32.
            tiling: encode and decode large frames in tiles of 256 pixels that overlap, for less memory.
            slicing: encode and decode the videos of a batch one by one, for less memory.

        Raises:
            ValueError: there is none, it is of another kind, not whole, or not finite.
        """
        folder = _find(source)
        name = _class_name(folder)
        autoencoder = load_whole(autoencoder_class(name), folder, torch_dtype=dtype)
        check_weights(autoencoder.state_dict(), str(folder))
        if tiling:
            autoencoder.enable_tiling()
        if slicing:
            autoencoder.enable_slicing()
        with building(folder):
            return cls(autoencoder).eval().requires_grad_(False)

    def _identity(self) -> dict[str, Tensor]:
        return {
            **self.state_dict(),
            "latent_mean": self.statistics.mean,
            "latent_scale": self.statistics.scale,
        }


def load_codec(
    source: str | Path = "shipped",
    dtype: torch.dtype | None = None,
    tiling: bool = False,
    slicing: bool = False,
) -> LatentCodec:
    """Load a codec of either kind.

    Args:
        source: ``shipped``, a codec of a plugin, a folder written by `Codec.save`, or what `VideoCodec.load`
            takes.
        dtype: of a video codec; see `VideoCodec.load`. The small ones are float32 and need no saving.
        tiling: of a video codec.
        slicing: of a video codec.

    Raises:
        ValueError: there is none.
    """
    if str(source) in CODECS:
        return CODECS[str(source)]()
    config = Path(source) / CONFIG_FILE
    if source == "shipped" or (config.is_file() and "_class_name" not in read_config(config)):
        return Codec.load(source)
    return VideoCodec.load(source, dtype, tiling, slicing)


def autoencoder_class(name: str) -> Any:
    """The class of diffusers by its name, one of `AUTOENCODERS`."""
    import diffusers  # slow to import

    return getattr(diffusers, name)


def latent_frames(frames: int, temporal: int) -> int:
    """Latent frames of a video of so many pixel frames.

    Raises:
        ValueError: the codec knows no such length.
    """
    rest = (frames - 1) % temporal
    if frames < 1 or rest:
        nearest = sorted({max(1, frames - rest), max(1, frames - rest + temporal)})
        raise ValueError(
            f"codec needs 1 + {temporal}n frames, got {frames}; cut or extend the video to "
            f"{' or '.join(map(str, nearest))}"
        )
    return 1 + (frames - 1) // temporal


def pixel_frames(frames: int, temporal: int) -> int:
    """Pixel frames of a video of so many latent frames."""
    return 1 + (frames - 1) * temporal


def _find(source: str | Path) -> Path:
    """The folder of a VAE; of a hub id only what it needs is downloaded, and its config first."""
    root = local_folder(source, [CONFIG_FILE, f"{_SUBFOLDER}/{CONFIG_FILE}"], _ADVICE)
    part = f"{_SUBFOLDER}/" if (root / _SUBFOLDER / CONFIG_FILE).is_file() else ""
    _class_name(root / part)
    folder = local_folder(source, [f"{part}{name}" for name in (CONFIG_FILE, *_FILES)], _ADVICE) / part
    if not any((folder / name).is_file() for name in (_WEIGHTS, f"{_WEIGHTS}.index.json")):
        raise ValueError(f"no {_WEIGHTS} in {folder}, expected it beside {CONFIG_FILE}; {_GET_ONE}")
    return folder


def _class_name(folder: Path) -> str:
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise ValueError(
            f"no {CONFIG_FILE} in {folder} nor in {_SUBFOLDER}/ there, expected a VAE in diffusers' format; "
            f"{_GET_ONE}"
        )
    name = str(read_config(file).get("_class_name", "model without _class_name"))
    if name not in AUTOENCODERS:
        raise ValueError(f"{file} is of a {name}, expected one of {', '.join(AUTOENCODERS)}")
    return name


def _is_wan(autoencoder: "Autoencoder") -> bool:
    return type(autoencoder).__name__ == _WAN


def _per_channel(values: Tensor, latents: Tensor) -> Tensor:
    return values.to(latents.device)[:, None, None, None]
