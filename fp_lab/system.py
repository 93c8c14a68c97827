"""Training logic: a LightningModule that learns to generate packed sections."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Generator, Tensor

from fp_lab.flow import FlowConfig, draw_sigmas, interpolate, shift_for, to_velocity, velocity_loss
from fp_lab.model import FramePackModel
from fp_lab.samples import ArrangementSource, Missing, assemble
from fp_lab.shapes import ContextLevel


class LatentBatch(TypedDict):
    """What training consumes: latents ``b c t h w`` and a caption per video."""

    latents: Tensor
    captions: list[str]


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up, a constant phase and cosine decay.

    Attributes:
        learning_rate: peak.
        warmup: steps of linear warm-up.
        decay: share of the steps, at their end, over which the learning rate falls. With less than 1, a run
            that is stopped in its constant phase can go on to another number of steps as if planned so.
        final: last learning rate over the peak.
        weight_decay: of matrices; vectors have none.
        betas: of the moments.
    """

    learning_rate: float = 2e-3
    warmup: int = 50
    decay: float = 1.0
    final: float = 0.05
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is asked of the model in training.

    Attributes:
        flow: times and output.
        missing: treatment of history that does not exist, see `fp_lab.samples.assemble`.
        caption_dropout: share of captions replaced by the empty one, for guidance to start from.
        history_noise: context latents become (1-s) x + s * noise with s ~ U(0, history_noise) per item.
        history_clean: share of items whose context stays clean.
    """

    flow: FlowConfig = field(default_factory=FlowConfig)
    missing: Missing = "drop"
    caption_dropout: float = 0.1
    history_noise: float = 0.0
    history_clean: float = 0.1


class FramePackSystem(LightningModule):
    """Trains a `FramePackModel` on arrangements drawn from a source.

    Randomness of step i depends on (seed, rank, i) alone, so a resumed run continues bit for bit.
    """

    def __init__(
        self,
        model: FramePackModel,
        source: ArrangementSource,
        objective: ObjectiveConfig,
        optimizer: OptimizerConfig,
        *,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        if objective.flow.output != model.output:
            raise ValueError(
                f"the model was built to predict {model.output!r}, but flow.output asks for "
                f"{objective.flow.output!r}"
            )
        self.model = model
        self.source = source
        self.objective = objective
        self.optimizer_config = optimizer
        self.steps = steps
        self.seed = seed

    def training_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Velocity loss of one batch of sections."""
        generator = step_generator(self.seed, self.global_rank, self.global_step)
        loss = self.section_loss(batch, generator)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def section_loss(self, batch: LatentBatch, generator: Generator) -> Tensor:
        """Mean velocity loss of one packed section per video.

        Args:
            batch: latents and captions.
            generator: a CPU generator; the source of every draw.
        """
        latents, config = batch["latents"], self.objective
        items, _, frames, rows, columns = latents.shape
        sample = assemble(latents, self.source.draw(items, frames, generator), config.missing)
        assert sample.target is not None
        context = tuple(self._corrupt(level, generator) for level in sample.context)
        count = self.model.section_tokens(sample.times.shape[1], rows, columns)
        shift = shift_for(config.flow.shift, count, self.model.section_tokens(frames, rows, columns))
        sigmas = draw_sigmas(items, shift, config.flow, generator).to(latents.device)
        noise = torch.randn(sample.target.shape, generator=generator).to(latents)
        noisy = interpolate(sample.target, noise, sigmas)
        dropped = torch.rand(items, generator=generator) < config.caption_dropout
        captions = ["" if drop else c for c, drop in zip(batch["captions"], dropped.tolist(), strict=True)]
        text = self.model.backbone.encode_text(captions)
        prediction = self.model(noisy, sample.times, sigmas, text, self.model.pack(context))
        velocity = to_velocity(prediction, noisy, sigmas, config.flow.output)
        return velocity_loss(velocity, sample.target, noise, noisy, sigmas).mean()

    def _corrupt(self, level: ContextLevel, generator: Generator) -> ContextLevel:
        """Noise on the history, so that the model learns not to trust its own history blindly."""
        if not self.objective.history_noise:
            return level
        items = len(level.latents)
        sigmas = self.objective.history_noise * torch.rand(items, generator=generator)
        sigmas *= (torch.rand(items, generator=generator) >= self.objective.history_clean).float()
        noise = torch.randn(level.latents.shape, generator=generator).to(level.latents)
        return replace(level, latents=interpolate(level.latents, noise, sigmas.to(level.latents.device)))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW; weight decay on matrices only."""
        config = self.optimizer_config
        parameters = list(self.model.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, config.learning_rate, betas=config.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step, self.steps, config)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def learning_rate_share(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step over the peak: up in the warm-up, constant, down a cosine at the end."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    start = max(config.warmup, steps - round(config.decay * steps))
    progress = min(max(step - start, 0) / max(steps - start, 1), 1.0)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress))


def step_generator(seed: int, rank: int, step: int) -> Generator:
    """A CPU generator for one training step of one rank."""
    mixed = (seed * 1_000_003 + rank) * 1_000_000_007 + step
    return Generator().manual_seed(mixed % 2**63)
