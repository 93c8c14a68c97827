"""Training of the codec: a LightningModule around `Codec`."""

from dataclasses import dataclass
from typing import TypedDict

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from fp_lab.checks.ranges import check_ranges
from fp_lab.codecs.tiny import Codec
from fp_lab.training.framepack_system import step_generator


@dataclass(frozen=True)
class CodecTrainingConfig:
    """How a codec is trained.

    Attributes:
        learning_rate: peak of the one-cycle schedule.
        latent_noise: standard deviation of the Gaussian noise on raw latents, so that the decoder
            forgives the errors of a diffusion model.
        latent_weight: weight of the mean squared latent: with the noise, the KL term of a VAE
            whose posterior variance is fixed (https://arxiv.org/abs/1312.6114, equation 10).
        steps: optimiser steps.
        decoder_only: keep the encoder and the latent statistics as they are, so that latents made with
            them, and models trained on these, stay valid.
    """

    learning_rate: float = 2e-3
    latent_noise: float = 0.1
    latent_weight: float = 1e-4
    steps: int = 1500
    decoder_only: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        noise = {"latent_noise": "[0, inf)", "latent_weight": "[0, inf)"}
        check_ranges("training", self, learning_rate="(0, inf)", steps="[1, inf)", **noise)


class CodecBatch(TypedDict):
    """Frames ``n c h w`` in [-1, 1], and how much each pixel counts, ``n 1 h w``."""

    frames: Tensor
    weights: Tensor


class CodecSystem(LightningModule):
    """Reconstruction training on batches of frames; the noise of a step depends on (seed, step) alone."""

    def __init__(self, codec: Codec, config: CodecTrainingConfig, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.codec = codec
        self.training_config = config
        codec.autoencoder.encoder.requires_grad_(not config.decoder_only)

    def training_step(self, batch: CodecBatch, batch_idx: int) -> Tensor:
        """Weighted mean squared error plus the latent penalty."""
        frames, weights = batch["frames"], batch["weights"]
        latents = self.codec.encode_raw(frames)
        noise = torch.randn(latents.shape, generator=step_generator(self.seed, 0, self.global_step))
        noisy = latents + self.training_config.latent_noise * noise.to(latents)
        error = (weights * (self.codec.decode_raw(noisy) - frames).square()).mean() / weights.mean()
        penalty = self.training_config.latent_weight * latents.square().mean()
        self.log("codec/psnr", 10 * torch.log10(4 / error.detach()), prog_bar=True)
        self.log("codec/latent_std", latents.detach().std())
        loss: Tensor = error + penalty
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW under a one-cycle schedule."""
        config = self.training_config
        optimizer = torch.optim.AdamW(
            [p for p in self.parameters() if p.requires_grad],
            config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.06, anneal_strategy="cos"
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@torch.no_grad()
def fit_latent_statistics(codec: Codec, frames: Tensor) -> None:
    """Set the per-channel mean and standard deviation from frames ``n c h w`` in [-1, 1]."""
    latents = torch.cat([codec.encode_raw(part) for part in frames.split(256)])
    codec.latent_mean.copy_(latents.mean((0, 2, 3)))
    codec.latent_std.copy_(latents.std((0, 2, 3)))
