"""Shapes of latents, and strides of the codecs that make them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Strides:
    """Of a codec: pixels per latent row and column, and frames per latent frame after the first."""

    spatial: int
    temporal: int


@dataclass(frozen=True)
class LatentShape:
    """Of a video: latent frames, rows and columns."""

    frames: int
    rows: int
    columns: int
