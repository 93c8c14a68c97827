"""What becomes history of a finished section: as it was made, re-encoded, or with noise after drift."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_lab.checks.ranges import check_ranges
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.recipe.lengths import stretches
from fp_lab.sampling.seeds import seeded_noise


@dataclass(frozen=True)
class AdaptiveConfig:
    """Noise on the history after drift, as in Helios (its `AdaptiveAntiDrifting`, off there by default).

    Per channel, mean and variance of a section are compared with their running values
    (https://github.com/PKU-YuanGroup/Helios, paper https://arxiv.org/abs/2603.04379). Where both are farther
    away than a band, in the Euclidean norm over channels, noise is added to the section before it becomes
    history. There the noise is seen in the video and one decision is taken for a batch; here the video stays
    clean and each video has its own decision.

    Attributes:
        strength: standard deviation of the noise; 0 samples without it.
        momentum: rho of the running values r <- rho r + (1 - rho) x, which include the section compared: at
            0 they are that section alone, which never leaves its own band.
        mean: band of the mean.
        variance: band of the variance.
    """

    strength: float = 0.0
    momentum: float = 0.9
    mean: float = 0.15
    variance: float = 0.15

    def __post_init__(self) -> None:
        """Refuse negative noise and bands, and a momentum at which no section can leave them."""
        bands = dict.fromkeys(("strength", "mean", "variance"), "[0, inf)")
        check_ranges("sampling.adaptive", self, momentum="(0, 1]", **bands)

    def idle(self) -> tuple[str, ...]:
        """Names of settings that do nothing: all others without noise."""
        return () if self.strength else ("momentum", "mean", "variance")


class DriftBand:
    """Running mean and variance of a rollout's sections, per video and channel."""

    def __init__(self, config: AdaptiveConfig) -> None:
        self.config = config
        self.running: tuple[Tensor, Tensor] | None = None

    def left_by(self, latents: Tensor) -> Tensor:
        """Take in a section ``b c t h w``; bool ``b``, the videos whose mean and variance left the bands."""
        values = (latents.mean((2, 3, 4)), latents.var((2, 3, 4)))
        if self.running is None:
            self.running = values
        mean, variance = (
            torch.lerp(value, old, self.config.momentum)
            for old, value in zip(self.running, values, strict=True)
        )
        self.running = mean, variance
        far = (values[0] - mean).norm(dim=1) > self.config.mean
        return far & ((values[1] - variance).norm(dim=1) > self.config.variance)


class HistoryLatents:
    """Latents of finished sections as later sections know them.

    All that it knows comes from the sections in their order, so a resumed rollout goes on as it would have.

    Args:
        codec: for a history that is decoded and encoded again; None: latents stay as they were made.
        adaptive: noise after drift.
        seeds: one per video.
        section: longest stretch that the codec gets, latent frames.
    """

    def __init__(
        self, codec: LatentCodec | None, adaptive: AdaptiveConfig, seeds: Sequence[int], section: int
    ) -> None:
        self.codec, self.adaptive, self.seeds, self.section = codec, adaptive, seeds, section
        self.band = DriftBand(adaptive)

    def of(self, index: int, frames: Sequence[int], latents: Tensor) -> Tensor:
        """History ``b c t h w`` of the section of an index, whose frames ascend."""
        if self.codec is not None:
            latents = reencoded(self.codec, latents, frames, self.section)
        if self.adaptive.strength:
            noise = seeded_noise(self.seeds, -1 - index, latents.shape[1:]).to(latents)
            left = self.band.left_by(latents)[:, None, None, None, None]
            latents = latents + self.adaptive.strength * noise * left
        return latents


def reencoded(codec: LatentCodec, latents: Tensor, frames: Sequence[int], section: int) -> Tensor:
    """Latents ``b c t h w`` decoded and encoded again, each stretch of consecutive frames by itself.

    As where one clip after another is continued from its pixels: a codec that makes several frames of one
    sees the first frame of a stretch as that of a video.

    Args:
        codec: of the latents.
        latents: of the frames.
        frames: indices, which ascend.
        section: longest stretch.
    """
    parts, begin = [], 0
    for stretch in stretches(frames, section):
        part = latents[:, :, begin : begin + len(stretch)]
        # one at a time, as in evaluation: memory, and the same bits in any batch
        parts.append(torch.cat([codec.encode(codec.decode(video)) for video in part.split(1)]))
        begin += len(stretch)
    return torch.cat(parts, 2).to(latents)
