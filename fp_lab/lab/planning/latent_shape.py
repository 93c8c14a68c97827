"""Shapes of latents, and strides of the codecs that make them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Strides:
    """Strides of a codec: pixels per latent row and column, frames per latent frame after the first."""

    spatial: int
    temporal: int


@dataclass(frozen=True)
class LatentShape:
    """Latent shape of a video: frames, rows and columns."""

    frames: int
    rows: int
    columns: int
