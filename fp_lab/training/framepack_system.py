"""Training logic: a LightningModule that learns to generate packed sections."""

import math
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from fp_lab.causal import Blocks
from fp_lab.checks.finite import check_checkpoint
from fp_lab.flow.history_noise import draw_corruption, draw_levels, with_noise, without
from fp_lab.flow.loss_bins import LossBins, bin_frame_losses, bin_losses
from fp_lab.flow.matching import (
    draw_sigmas,
    interpolate,
    shift_for,
    to_velocity,
    velocity_loss,
    velocity_target,
)
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import Arrangement, ArrangementSource, PlannedSections, assemble, take
from fp_lab.shapes import Caption, ContextLevel, PackedSample, TextCondition
from fp_lab.training.history import HistorySource, Prediction, TrainingStep, make_source
from fp_lab.training.history.source import draw_videos, keeps_state
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig, learning_rate_share, make_optimizer
from fp_lab.training.recall_weight import recall_weights

_HISTORY = "fp_lab_history"
"""Entry of a checkpoint with the state of the source of histories."""


class LatentBatch(TypedDict):
    """What training consumes: latents ``b c t h w``, a caption per video, embeddings of first frames.

    A dropped caption is the text "", whether the others are texts or embeddings. `hidden` are the cells that
    something covers, bool ``b t h w``, for `recall_weights`.
    """

    latents: Tensor
    captions: Sequence[Caption]
    images: NotRequired[Tensor]
    hidden: NotRequired[Tensor]


class FramePackSystem(LightningModule):
    """Trains a `FramePackModel` on arrangements drawn from a source.

    Randomness of batch i depends on (seed, rank, i) alone, so a resumed run continues bit for bit, and
    batches whose gradients accumulate differ in their noise and their sections.

    Attributes:
        loss_bins: of the last batch, by noise level.
        gradient_norm: of the last step, before clipping; a scalar on the training's device.
    """

    loss_bins: LossBins
    gradient_norm: Tensor

    def __init__(
        self,
        model: FramePackModel,
        source: ArrangementSource | Blocks,
        objective: ObjectiveConfig,
        optimizer: OptimizerConfig,
        *,
        steps: int,
        seed: int,
        recall_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if objective.flow.output != model.output:
            raise ValueError(
                f"the model was built to predict {model.output!r}, but flow.output asks for "
                f"{objective.flow.output!r}"
            )
        self.history_source = make_source(objective.history)
        _check(model, source, objective, self.history_source)
        self.model = model
        self.source = source
        self.objective = objective
        self.optimizer_config = optimizer
        self.steps = steps
        self.seed = seed
        self.recall_weight = recall_weight
        self.strict_loading = all(parameter.requires_grad for parameter in model.parameters())
        self.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]

    def training_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Velocity loss of one batch of sections."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total
        batches: int = done.processed  # type: ignore[attr-defined]  # it is a _ProcessedTracker
        generator = step_generator(self.seed, self.global_rank, batches)
        loss = self.section_loss(batch, generator)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Prediction of the model, see `FramePackModel.forward`."""
        prediction: Tensor = self.model(*args, **kwargs)
        return prediction

    def section_loss(self, batch: LatentBatch, generator: Generator) -> Tensor:
        """Mean velocity loss of one packed section per video.

        Args:
            batch: latents and captions.
            generator: a CPU generator; the source of every draw.
        """
        latents, config, model = batch["latents"], self.objective, self.model
        if "images" in batch and 0 in config.given:
            raise ValueError(
                f"objective.given: got {list(config.given)} for a model that is told the first frame, "
                "expected 1 or more: text to video has no first frame; train a text-to-video model for that"
            )
        if isinstance(self.source, Blocks):
            return self._window_loss(batch, self.source, generator)
        step = TrainingStep(
            model, latents, batch["captions"], batch.get("images"), self.source, config, generator
        )
        sample, arrangements = self._sample(step, self.source)
        frames, rows, columns = latents.shape[2:]
        # by the tokens of the sections drawn, as in the sampler
        shift = self._shift(sample.times.shape[1], frames, rows, columns)
        sigmas = draw_sigmas(len(latents), shift, config.flow, generator).to(latents.device)
        noise = torch.randn(sample.target.shape, generator=generator).to(latents)
        noisy = interpolate(sample.target, noise, sigmas)
        context, levels = self._treated(sample.context, sigmas, generator)
        text = self._text(batch, generator)
        packed = model.memory_of(model.pack(context, levels), text)
        prediction = model(noisy, sample.times, sigmas, text, packed)
        if prediction.shape != noisy.shape:  # of a backbone of a plugin; the loss would broadcast it
            raise ValueError(
                f"backbone {type(model.backbone).__name__}: got {tuple(prediction.shape)}, expected "
                f"{tuple(noisy.shape)}"
            )
        velocity = to_velocity(prediction, noisy, sigmas, config.flow.output)
        target = velocity_target(sample.target, noise, sigmas, config.flow.output)
        losses = velocity_loss(velocity, target)
        self.loss_bins = bin_losses(losses, sigmas)
        self.history_source.observe(step, Prediction(noisy, velocity.detach(), sample.target, sigmas))
        if not (self.recall_weight and "hidden" in batch):
            return losses.mean()
        weights = recall_weights(batch["hidden"], arrangements, self.recall_weight)
        return ((velocity - target).square().mean(1) * weights).sum() / weights.sum()

    def _sample(
        self, step: TrainingStep, source: ArrangementSource
    ) -> tuple[PackedSample, list[Arrangement]]:
        """One section per video, with its context from the source of histories, and how it was arranged."""
        model, generator = self.model, step.shared
        # the order of the draws is part of what a seed means: moving one changes every loss after it
        videos = draw_videos(self.history_source, step)
        corrupted = draw_corruption(step.latents, self.objective.history, generator)

        def known(history: Tensor) -> Tensor:
            history = corrupted(history)
            # packing discretises what it packs; whole videos only where their pixels are used before that:
            return model.history(history) if model.context.importance.kind != "time" else history  # compared

        history = known(videos.history)
        arrangements = source.draw(history, model.context, generator)
        resampled = self.history_source.resample(step, arrangements)
        if resampled is not None:
            history = known(resampled)
        if arrangements[0].tails or model.context.timestep == "level":  # averaged, or mixed with noise
            history = model.history(history)
        sample = assemble(videos.targets, arrangements, model.context.missing, history)
        return sample, arrangements

    def _treated(
        self, context: tuple[ContextLevel, ...], sigmas: Tensor, generator: Generator
    ) -> tuple[tuple[ContextLevel, ...], Tensor | None]:
        """Context with dropped histories, and with noise of levels ``b`` that the model is told."""
        history, options = self.objective.history, self.model.context
        # drawn at rate 0 too, so that runs that differ in this rate alone share all other draws
        dropped = (torch.rand(len(sigmas), generator=generator) < history.dropout).to(sigmas.device)
        if options.timestep != "level":
            return (without(context, dropped, options.missing) if history.dropout else context), None
        # level 1 is pure noise: the side without history of the sampler's history guidance
        levels = draw_levels(sigmas, history, generator).where(~dropped, 1)
        noises = [torch.randn(x.latents.shape, generator=generator).to(x.latents) for x in context]
        return with_noise(context, levels, noises), levels

    def _window_loss(self, batch: LatentBatch, blocks: Blocks, generator: Generator) -> Tensor:
        """Mean velocity loss of a window of blocks, each at its own noise level (see `fp_lab.causal`)."""
        latents, config, model = batch["latents"], self.objective, self.model
        items, _, length, rows, columns = latents.shape
        frames = blocks.draw_window(items, length, generator).to(latents.device)
        levels = blocks.draw_levels(frames.cpu(), config.history.clean, generator).to(latents)
        clean = take(latents, frames)
        noise = torch.randn(clean.shape, generator=generator).to(latents)
        noisy = interpolate(clean, noise, levels)
        text = self._text(batch, generator)
        mask = blocks.mask(frames, model.section_tokens(1, rows, columns))
        prediction = model(noisy, frames, levels, text, None, mask, blocks.moments(frames))
        velocity = to_velocity(prediction, noisy, levels, config.flow.output)
        target = velocity_target(clean, noise, levels, config.flow.output)
        self.loss_bins = bin_frame_losses(velocity, target, levels)
        # a frame at level 0 holds no noise, so its velocity cannot be predicted
        return velocity_loss(velocity, target, levels > 0).mean()

    def _shift(self, section: int, frames: int, rows: int, columns: int) -> float:
        count = self.model.section_tokens(section, rows, columns)
        return shift_for(self.objective.flow.shift, count, self.model.section_tokens(frames, rows, columns))

    def _text(self, batch: LatentBatch, generator: Generator) -> TextCondition:
        captions = batch["captions"]
        dropped = torch.rand(len(captions), generator=generator) < self.objective.caption_dropout
        told = zip(captions, dropped.tolist(), strict=True)
        kept: list[Caption] = ["" if drop else caption for caption, drop in told]
        guidance = self.objective.distilled_guidance
        return self.model.backbone.encode_text(kept, batch.get("images"), guidance)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip, and keep what the norm was before: the norm that clipping needs anyway costs nothing."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)  # a fused step would do it, but after the clipping
        by_value = gradient_clip_algorithm == "value"
        largest = gradient_clip_val or math.inf
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.gradient_norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if by_value else largest)
        if by_value:
            torch.nn.utils.clip_grad_value_(parameters, largest)

    def on_fit_start(self) -> None:
        """Refuse several processes where the source of histories keeps a state, which is stored for one."""
        if self.trainer.world_size > 1 and keeps_state(self.history_source):
            raise ValueError(
                f"objective.history.source: got {self.objective.history.source!r} with "
                f"{self.trainer.world_size} processes, expected one: what it keeps is stored for one process"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the source of histories keeps; refuse to write what is not finite."""
        if keeps_state(self.history_source):
            checkpoint[_HISTORY] = self.history_source.state_dict()
        check_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on from what is not finite; restore what the source of histories kept."""
        check_checkpoint(checkpoint)
        if _HISTORY in checkpoint:
            self.history_source.load_state_dict(checkpoint[_HISTORY])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """What the config names; weight decay on matrices only.

        Raises:
            ValueError: moments of 8 bits without bitsandbytes.
        """
        config = self.optimizer_config
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        modules = (module for block in self.model.backbone.blocks for module in block.modules())
        matrices = [m.weight for m in modules if isinstance(m, nn.Linear) and m.weight.requires_grad]
        projections = [p for p in self.model.packer.projections.parameters() if p.ndim > 1]
        optimizer = make_optimizer(parameters, config, matrices, projections)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step, self.steps, config)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _leave_out_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Leave out weights that do not learn, before ranks send theirs: they are where they came from."""
    for name, parameter in module.named_parameters(prefix.removesuffix(".")):
        if not parameter.requires_grad:
            del state[name]


def _check(
    model: FramePackModel,
    source: ArrangementSource | Blocks,
    objective: ObjectiveConfig,
    histories: HistorySource,
) -> None:
    """Refuse an objective that the model or its sections were not made for."""
    attention, timestep = model.context.attention, model.context.timestep
    if isinstance(source, Blocks) != (attention == "block_causal"):
        raise ValueError(
            f"context.attention: got {attention!r} with sections from {type(source).__name__}, expected "
            "'block_causal' with Blocks and no other"
        )
    if attention == "block_causal" and objective.given != (1,):
        raise ValueError(
            f"objective.given: got {list(objective.given)} with context.attention 'block_causal', expected "
            "[1]: its first block is the first frame"
        )
    history = objective.history
    if attention == "block_causal" and history.source != "true":
        raise ValueError(
            f"objective.history.source: got {history.source!r} with context.attention 'block_causal', "
            "expected 'true': its history are the blocks that it learns to generate"
        )
    if histories.needs_plan and not isinstance(source, PlannedSections):
        raise ValueError(
            f"objective.history.source: got {history.source!r} with sections from {type(source).__name__}, "
            "expected 'true', 'augmented' or 'recycled': the others follow the plan of one recipe"
        )
    if history.level != "clean" and timestep != "level":
        raise ValueError(
            f"objective.history.level: got {history.level!r} with context.timestep {timestep!r}, expected "
            "context.timestep=level: the model has to be told"
        )


def step_generator(seed: int, rank: int, batch: int) -> Generator:
    """A CPU generator for one training batch of one rank, counted from 0 over the whole training."""
    mixed = (seed * 1_000_003 + rank) * 1_000_000_007 + batch
    return Generator().manual_seed(mixed % 2**63)
