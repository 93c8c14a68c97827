"""What every codec does: pixels to normalised latents and back."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache

from torch import Tensor, nn

from fp_lab.registry import Registry


class LatentCodec(nn.Module, ABC):
    """Pixels ``b c t h w`` in [-1, 1] <-> latents ``b c t h/s w/s`` of zero mean and unit variance."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of a latent frame."""

    @property
    @abstractmethod
    def spatial(self) -> int:
        """Pixels per latent, along height and along width."""

    @property
    @abstractmethod
    def temporal(self) -> int:
        """Pixel frames per latent frame, but for the first, which has one; 1: frames are coded one by one."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Digest of what it is."""

    @property
    @abstractmethod
    def encoder_sha256(self) -> str:
        """Digest of what latents depend on: the encoder and the latent statistics, not the decoder."""

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Encode a batch of videos.

        Args:
            pixels: ``b c t h w`` in [-1, 1]; h and w multiples of `spatial`, t one more than a multiple of
                `temporal`.

        Returns:
            Normalised latents ``b c t h w``.

        Raises:
            ValueError: another size or length.
        """

    @abstractmethod
    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        """Decode normalised latents ``b c t h w`` to pixels ``b c t h w``.

        Args:
            latents: normalised.
            clamp: to [-1, 1].

        Raises:
            ValueError: latents of another codec's channels.
        """


CODECS: Registry[Callable[[], LatentCodec]] = Registry("codec")
"""Codecs of plugins, by the name that ``codec.source`` gives; each is built by a call without arguments."""


@cache
def described_codec(source: str) -> LatentCodec | None:
    """A codec of a plugin, to ask for its sizes and digest; None for other sources."""
    return CODECS[source]() if source in CODECS else None
