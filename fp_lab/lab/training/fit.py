"""Training of an arm, alone or as one of several ranks, and what it writes."""

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean, median

import pandas as pd
import torch

from fp_data.atomic import replacing, replacing_folder
from fp_lab.backbones.diffusers.lora import trainable
from fp_lab.checks.finite import check_weights
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.conditions import attach_text_embeddings
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.materials.training_videos import TrainingVideos, data_loader
from fp_lab.lab.runtime.peak_memory import peak_memory, reset_peak_memory
from fp_lab.lab.runtime.quiet import quiet_lightning
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.callbacks import AtCheckpoints, SavePoint, StepTable
from fp_lab.lab.training.ema import Averaging, LearnedAveraging
from fp_lab.lab.training.fsdp import ShardedAveraging, ShardedSystem
from fp_lab.lab.training.trainer import fit_system, make_trainer, steps_taken
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import CodebookStats
from fp_lab.packing.token_counts import tokens_per_sample

Take = Callable[[FramePackModel, int], None]
"""Function called with the averaged model and the step."""


def fit(
    folder: RunFolder,
    config: ExperimentConfig,
    key: str,
    materials: Materials,
    reporter: Reporter,
    take: Take | None,
) -> FramePackModel:
    """Train, and write the model (averaged weights), the table of steps and the efficiency.

    Every rank calls this; the first one writes.

    Args:
        folder: folder of the run.
        config: settings of the run.
        key: key of the training.
        materials: codec and training videos.
        reporter: receiver of every step.
        take: called with the model at checkpoints to track; None: there are none.

    Returns:
        Averaged model; with sharding, only on the first rank.

    Raises:
        NotFinite: loss or gradient of a step, or weights to be written, are not finite; nothing is written
            then.
    """
    settings = config.training
    torch.set_num_threads(settings.threads)
    reset_peak_memory()
    videos, fitted = materials.training(config), materials.codebook(config)
    codec = materials.codec(config)
    model = build_model(config, codec.channels, copy.deepcopy(fitted.codebook) if fitted else None)
    codec.cpu()  # room for the model; whoever decodes later asks for it again
    model = attach_text_embeddings(model, config, videos.captions, guided=False)
    started = steps_taken(folder.checkpoint, key, reporter)
    sharded = settings.ranks > 1 and settings.strategy == "fsdp"
    frozen = any(not parameter.requires_grad for parameter in model.parameters())
    whole = LearnedAveraging if frozen else Averaging
    average = ShardedAveraging(settings.ema, model) if sharded else whole(settings.ema)
    table = StepTable(reporter, _tokens(config, videos) * settings.batch)
    tracking = [] if take is None else [AtCheckpoints(average, config.track.every, take)]
    save = SavePoint(folder.checkpoint, settings.checkpoint_every, key)
    reporter.begin("train", settings.steps)
    with quiet_lightning():
        trainer = make_trainer(settings, [average, table, *tracking, save], folder.path)
        share = {"rank": trainer.global_rank, "ranks": trainer.world_size}
        batches = videos.batches(settings.batch, config.seed, **share, first_batch=started)
        system = build_system(config, model, ShardedSystem if sharded else None)
        read = data_loader(batches, settings.workers)
        fit_system(trainer, system, read, folder.checkpoint if started else None)
    trained = average.collect(trainer)
    if trainer.is_global_zero:
        check_weights(dict(trainable(trained)), f"averaged weights after step {trainer.global_step}")
        _write(folder, trained, table, fitted.stats if fitted else None)
    return trained


def _tokens(config: ExperimentConfig, videos: TrainingVideos) -> float:
    """Number of tokens of a sample, on average over videos of all sizes."""
    counts, recipe, fill = videos.shapes, config.parsed_recipe, config.sampling.fill
    tokens = [tokens_per_sample(recipe, fill, *shape, config.context) for shape in counts]
    return fmean(tokens, list(counts.values()))


def _write(
    folder: RunFolder, model: FramePackModel, table: StepTable, codebook: CodebookStats | None
) -> None:
    """Write the results of a training; a killed process leaves no model or a whole one."""
    with replacing_folder(folder.model) as unfinished:
        model.cpu().eval().save(unfinished)
    folder.codebook.unlink(missing_ok=True)
    if codebook is not None:
        write_text(folder.codebook, json.dumps(asdict(codebook), indent=2) + "\n")
    steps = pd.DataFrame([asdict(step) for step in table.steps]).rename(columns={"seconds": "step_seconds"})
    with replacing(folder.loss) as unfinished:
        steps.to_parquet(unfinished, index=False)
    folder.record_efficiency(training_efficiency([step.seconds for step in table.steps], table.tokens))


def training_efficiency(seconds: Sequence[float], tokens_per_step: float) -> dict[str, float]:
    """Efficiency of a training from the wall time of its steps, without the first ones, which warm up.

    Includes the threads of torch and the load of the last minute.
    """
    settled = seconds[min(3, len(seconds) // 2) :]
    typical = median(settled)
    return {
        "step_seconds": typical,
        "tokens_per_second": tokens_per_step / typical,
        "threads": float(torch.get_num_threads()),
        "machine_load": os.getloadavg()[0],
        **peak_memory(),
    }
