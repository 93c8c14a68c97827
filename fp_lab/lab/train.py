"""Stage one of a run: fine-tune an arm, resuming where it was interrupted."""

import copy
import json
import shutil
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.utils.data import DataLoader

from fp_data.latents import LatentBatches
from fp_lab.lab.atomic import replacing, write_text
from fp_lab.lab.build import Materials, build_model, build_system
from fp_lab.lab.callbacks import SavePoint, StepTable
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.efficiency import reset_peak_memory, tokens_per_sample, training_efficiency
from fp_lab.lab.quiet import quiet_lightning
from fp_lab.lab.reporter import Reporter
from fp_lab.lab.stages import RunFolder
from fp_lab.model import FramePackModel
from fp_lab.system import FramePackSystem


def train(
    folder: RunFolder, config: ExperimentConfig, key: str, materials: Materials, reporter: Reporter
) -> None:
    """Train an arm and write its model (averaged weights), its table of steps and its efficiency.

    A checkpoint of the same key is continued from, and the result has the same bits as without interruption.

    Args:
        folder: of the run.
        config: of the run.
        key: what the training depends on.
        materials: codec and training videos.
        reporter: hears of every step.
    """
    settings = config.training
    torch.set_num_threads(settings.threads)
    reset_peak_memory()
    codec = materials.codec(config)
    videos = materials.training(config)
    fitted = materials.codebook(config)
    model = build_model(config, codec, copy.deepcopy(fitted.codebook) if fitted else None)
    started = _steps_taken(folder.checkpoint, key)
    batches = LatentBatches(videos, settings.batch, config.seed, first_batch=started)
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)
    table = StepTable(reporter)
    callbacks = [
        EMAWeightAveraging(decay=settings.ema),
        table,
        SavePoint(folder.checkpoint, settings.checkpoint_every, key),
    ]
    reporter.begin("train", settings.steps)
    with quiet_lightning():
        trainer = Trainer(
            max_steps=settings.steps,
            accelerator=settings.accelerator,
            devices=1,
            precision=settings.precision,
            gradient_clip_val=settings.gradient_clip,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder.path,
        )
        _fit(trainer, build_system(config, model), loader, folder.checkpoint if started else None)
    _write_model(model, folder.model)
    folder.codebook.unlink(missing_ok=True)
    if fitted:
        write_text(folder.codebook, json.dumps(asdict(fitted.stats), indent=2) + "\n")
    with replacing(folder.loss) as unfinished:
        pd.DataFrame([asdict(step) for step in table.steps]).rename(
            columns={"seconds": "step_seconds"}
        ).to_parquet(unfinished, index=False)
    frames, rows, columns = videos.latents.shape[2:]
    tokens = tokens_per_sample(config.parsed_recipe, config.sampling.fill, frames, rows, columns)
    seconds = [step.seconds for step in table.steps]
    folder.record_efficiency(training_efficiency(seconds, tokens * settings.batch))


def _fit(trainer: Trainer, system: FramePackSystem, loader: DataLoader[Any], checkpoint: Path | None) -> None:
    try:
        trainer.fit(system, loader, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # lightning turns Ctrl-C into an exit and leaves Ctrl-C ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from stop


def _steps_taken(checkpoint: Path, key: str) -> int:
    """Steps behind a checkpoint; 0 without one of this key, and what is left of another is removed."""
    if not checkpoint.is_file():
        return 0
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    if stored.get("fp_lab_key") == key:
        return int(stored["global_step"])
    checkpoint.unlink()
    return 0


def _write_model(model: FramePackModel, folder: Path) -> None:
    """Write the model so that a killed process leaves none or a whole one."""
    unfinished = folder.with_name(f".{folder.name}")
    for old in (unfinished, folder):
        if old.exists():
            shutil.rmtree(old)
    model.cpu().eval().save(unfinished)
    unfinished.rename(folder)
