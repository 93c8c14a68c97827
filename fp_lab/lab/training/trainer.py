"""The one fit: how arms, base and codec are trained by Lightning, resumed after interruptions."""

import signal
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.utils.data import DataLoader

from fp_lab.checks.finite import NotFinite, check_checkpoint
from fp_lab.lab.config import TrainingConfig
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.resume import CheckpointFiles, begin_again, usable_checkpoint


def make_trainer(settings: TrainingConfig, callbacks: list[Callback], folder: Path) -> Trainer:
    """Make Lightning's Trainer of a training; logs, bars and checkpoints are the callbacks' own."""
    return Trainer(
        max_steps=settings.steps,
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=strategy_of(settings),
        precision=settings.precision,
        gradient_clip_val=settings.gradient_clip,
        callbacks=callbacks,
        plugins=[CheckpointFiles()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def strategy_of(training: TrainingConfig) -> Strategy | str:
    """Lightning's strategy for ranks; parameters that a section's context leaves out have no gradient."""
    if training.ranks == 1:
        return "auto"
    if training.strategy == "fsdp":
        return ModelParallelStrategy(training.ranks, 1, save_distributed_checkpoint=False)
    return DDPStrategy(find_unused_parameters=True)


def steps_taken(checkpoint: Path, key: str | None, reporter: Reporter) -> int:
    """Steps taken up to a checkpoint with finite values; 0 without (others are set aside).

    Args:
        checkpoint: path of the checkpoint.
        key: key of the training; None: a checkpoint of any settings will do.
        reporter: receiver of the reason why a checkpoint is set aside.
    """
    stored = usable_checkpoint(checkpoint, reporter.say)
    if stored is None:
        return 0
    try:
        check_checkpoint(stored)
        if key is None or stored.get("fp_lab_key") == key:
            return int(stored["global_step"])
        reason = "is of a training with other settings, weights or data"
    except NotFinite as error:
        reason = str(error)
    begin_again(checkpoint, f"{checkpoint}: {reason}", reporter.say)
    return 0


def fit_system(
    trainer: Trainer, system: LightningModule, loader: DataLoader[Any], checkpoint: Path | None
) -> None:
    """Train, resumed from a checkpoint; None: from the beginning.

    Raises:
        KeyboardInterrupt: the user has stopped it.
    """
    try:
        trainer.fit(system, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # lightning turns Ctrl-C into an exit and leaves Ctrl-C ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stop
