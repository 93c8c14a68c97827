"""Callbacks between training steps: table of steps, checkpoint to resume from, checkpoints to track."""

import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from fp_lab.backbones.diffusers.lora import trainable
from fp_lab.checks.finite import check_step, check_weights
from fp_lab.flow.loss_bins import BINS
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.training.ema import Average
from fp_lab.model import FramePackModel
from fp_lab.training.framepack_system import FramePackSystem


class StepTable(Callback):
    """Records the metrics of every step, also over interruptions.

    Args:
        reporter: receiver of every step.
        tokens: number of tokens of a step, over all ranks.
    """

    def __init__(self, reporter: Reporter, tokens: float) -> None:
        self.reporter, self.tokens = reporter, tokens
        self.steps: list[Step] = []
        self._started = 0.0
        self._learning_rate = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note time and learning rate, which changes before the step ends."""
        self._learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record and report the step.

        Raises:
            NotFinite: loss or gradient is not finite; on every rank, as the values are those of all ranks.
        """
        assert isinstance(pl_module, FramePackSystem)
        loss, norm, bins = _measured(trainer, pl_module, outputs["loss"])
        seconds = time.perf_counter() - self._started
        check_step(trainer.global_step, self._learning_rate, loss=loss, gradient_norm=norm)
        rate = self.tokens / seconds
        step = Step(trainer.global_step, loss, self._learning_rate, seconds, norm, rate, *bins)
        self.steps.append(step)
        self.reporter.trained(step)
        self.reporter.advance(step.step, f"loss {loss:.3f}")

    def state_dict(self) -> dict[str, Any]:
        """Return the steps as plain lists, which load with weights_only."""
        return {"steps": [list(astuple(step)) for step in self.steps]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the steps of an interrupted training."""
        self.steps = [Step(*values) for values in state_dict["steps"]]


def _measured(
    trainer: Trainer, system: FramePackSystem, loss: torch.Tensor
) -> tuple[float, float, list[float]]:
    """Loss, gradient norm and loss by noise level of a step, over all ranks, in one synchronisation."""
    scalars = torch.stack((loss.detach().float(), system.gradient_norm.detach().float()))
    figures = torch.cat((scalars, system.loss_bins.sums, system.loss_bins.counts))
    if trainer.world_size > 1:
        summed = trainer.strategy.reduce(figures, reduce_op="sum")
        assert isinstance(summed, torch.Tensor)
        figures = summed
        figures[:2] /= trainer.world_size
    mean_loss, norm, *bins = figures.tolist()
    pairs = zip(bins[:BINS], bins[BINS:], strict=True)
    return mean_loss, norm, [total / count if count else float("nan") for total, count in pairs]


class SavePoint(Callback):
    """Writes the checkpoint that an interrupted training resumes from, see `CheckpointFiles`.

    Args:
        path: path of the checkpoint.
        every: steps between two writes.
        key: key of the training, if a checkpoint with another key is not usable.
    """

    def __init__(self, path: Path, every: int, key: str | None = None) -> None:
        self.path, self.every, self.key = path, every, key

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint, if it is time."""
        if trainer.global_step % self.every == 0:
            trainer.save_checkpoint(self.path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the key of the training."""
        checkpoint["fp_lab_key"] = self.key


class AtCheckpoints(Callback):
    """Passes on the averaged model every `every` steps and after the last one.

    It has to come before `SavePoint`: after a kill in between, the step is repeated, not skipped.

    Args:
        average: callback with the averaged model.
        every: steps between two calls.
        take: called with the model and the step, on the first rank.
    """

    def __init__(self, average: Average, every: int, take: Callable[[FramePackModel, int], None]) -> None:
        self.average, self.every, self.take = average, every, take

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Pass the model on, if it is time."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            model = self.average.collect(trainer)
            if trainer.is_global_zero:
                check_weights(dict(trainable(model)), f"averaged weights after step {step}")
                self.take(model, step)
