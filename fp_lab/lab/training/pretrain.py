"""Training of the shipped models: the codec, and the base that arms fine-tune from."""

import csv
import json
import os
import platform
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from fp_data.atomic import replacing_files
from fp_data.clips import EXTENSIONS
from fp_data.crops import CropsConfig, FrameCrops
from fp_data.latents import (
    LatentBatches,
    LatentVideos,
    VideoChunk,
    cached,
    encode_videos,
    to_pixels,
    together,
)
from fp_data.worlds import VARIANTS, VOCABULARY, WorldConfig, iterate, render
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, WordsConfig
from fp_lab.checks.finite import check_step
from fp_lab.checks.ranges import MOST_SEED, THREADS, check_ranges
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.lab.config.experiment import FIRST_TRAINING_SEED
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.provenance.base_origin import PROVENANCE_FILE, provenance_of
from fp_lab.lab.runtime.quiet import quiet_lightning
from fp_lab.lab.training.resume import CheckpointFiles, usable_checkpoint
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import MixedSections
from fp_lab.training.codec_system import CodecSystem, CodecTrainingConfig, fit_latent_statistics
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from fp_lab.training.system import FramePackSystem
from fp_lab.weights.files import file_sha256

CURVE_FILE = "curve.csv"


@dataclass(frozen=True)
class CodecRunConfig:
    """Everything that `fp-lab codec train` depends on.

    Attributes:
        codec: architecture of the codec.
        training: settings of the optimisation.
        crops: crops of a batch.
        start: codec to start from; None: random weights.
        clips: folder of real clips, whose crops are mixed with renders of the world; None: the clips of
            `fp-lab data get clips`.
        statistics_batches: number of further batches, on which the latent statistics are fitted.
        checkpoint_every: steps between checkpoints to resume from.
        seed: seed of all randomness.
        threads: number of intra-op threads.
    """

    codec: CodecConfig = field(default_factory=CodecConfig)
    training: CodecTrainingConfig = field(default_factory=CodecTrainingConfig)
    crops: CropsConfig = field(default_factory=CropsConfig)
    start: str | None = None
    clips: str | None = None
    statistics_batches: int = 20
    checkpoint_every: int = 250
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        """Check that this can be trained."""
        counts = ("statistics_batches", "checkpoint_every")
        check_ranges("", self, **dict.fromkeys(counts, "[1, inf)"), threads=THREADS, seed=f"[0, {MOST_SEED}]")


@dataclass(frozen=True)
class PretrainConfig:
    """Everything that `fp-lab pretrain` depends on.

    Attributes:
        backbone: size of the transformer; vocabulary is that of the worlds, channels those of the codec.
        sections: arrangements of sections to draw, whose kernels get projections of their own.
        start: base to start from, with missing parts at zero; None: random weights.
        fresh_projections: whether projections of larger kernels are initialised anew, as averages of the base
            kernel's.
        objective: loss and history corruption.
        optimizer: settings of AdamW and its schedule.
        world: size, length and captions of the videos.
        videos: number of encoded videos of each variant.
        first_seed: seed of the first video of each variant; seeds below 10,000 are kept for evaluation.
        batch: videos per step.
        steps: number of optimiser steps.
        ema: decay of the averaged weights.
        gradient_clip: largest gradient norm.
        checkpoint_every: steps between checkpoints to resume from.
        codec: codec of the latents.
        seed: seed of all randomness.
        threads: number of intra-op threads, per device.
        devices: number of GPUs, or processes on the CPU, that share each batch; the first starts the others.
        compile: whether to compile the transformer's blocks.
    """

    backbone: TinyDiTConfig = field(default_factory=TinyDiTConfig)
    sections: MixedSections = field(default_factory=MixedSections)
    start: str | None = None
    fresh_projections: bool = False
    objective: ObjectiveConfig = field(
        default_factory=lambda: ObjectiveConfig(history=HistoryConfig(noise=0.3, clean=0.3))
    )
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    world: WorldConfig = field(default_factory=WorldConfig)
    videos: dict[str, int] = field(default_factory=lambda: {"plain": 800})
    first_seed: int = 10_000
    batch: int = 16
    steps: int = 5000
    ema: float = 0.998
    gradient_clip: float = 1.0
    checkpoint_every: int = 250
    codec: str = "shipped"
    seed: int = 0
    threads: int = 2
    devices: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        """Check that this can be trained, and that the worlds exist."""
        counts = ("batch", "steps", "checkpoint_every", "devices")
        check_ranges("", self, **dict.fromkeys(counts, "[1, inf)"), threads=THREADS)
        check_ranges("", self, ema="[0, 1)", gradient_clip="[0, inf)", seed=f"[0, {MOST_SEED}]")
        check_ranges("", self, first_seed=f"[{FIRST_TRAINING_SEED}, {MOST_SEED}]")
        if self.batch % self.devices:
            raise ValueError(
                f"batch: got {self.batch}, expected a multiple of devices ({self.devices}), which share it"
            )
        if not self.videos or min(self.videos.values()) < 0 or not any(self.videos.values()):
            raise ValueError(f"videos: got {self.videos}, expected numbers of videos of some worlds")
        if unknown := [variant for variant in self.videos if variant not in VARIANTS]:
            raise ValueError(f"videos: got {', '.join(unknown)}, expected some of {', '.join(VARIANTS)}")


def _is_row(fields: Sequence[str]) -> bool:
    """Return whether a line holds three numbers, unlike the head and the last line of a killed process."""
    with suppress(ValueError):
        return len([float(text) for text in fields]) == 3
    return False


class _Ended(Callback):
    """Restores the default of SIGTERM: in lightning's handler ranks can wait for each other forever."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the handler that lightning has set."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Curve(Callback):
    """Appends step, mean logged value and training seconds to a CSV file, also over interruptions.

    It also stops the training at the first value that is not finite.
    """

    def __init__(self, path: Path, metric: str, done: int, every: int = 10) -> None:
        self.path, self.metric, self.done, self.every = path, metric, done, every
        self.values: list[float] = []
        self.started = 0.0
        self.learning_rate = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows of an interrupted training up to its checkpoint, also where no step is left."""
        rows = [["step", self.metric, "seconds"]]
        if self.path.is_file():
            with self.path.open(newline="") as file:
                kept = filter(_is_row, csv.reader(file))
                rows += [row for row in kept if int(row[0]) <= self.done]
        with self.path.open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        self.started = perf_counter() - (float(rows[-1][2]) if len(rows) > 1 else 0.0)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate, which changes before the step ends."""
        self.learning_rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a row, if it is time.

        Raises:
            NotFinite: the value, or the gradient norm where known, is not finite.
        """
        figures = {self.metric: float(trainer.strategy.reduce(trainer.callback_metrics[self.metric]))}
        if isinstance(pl_module, FramePackSystem):
            figures["gradient norm"] = float(pl_module.gradient_norm)
        check_step(trainer.global_step, self.learning_rate, **figures)
        self.values.append(figures[self.metric])
        if trainer.is_global_zero and trainer.global_step % self.every == 0:
            row = [trainer.global_step, f"{fmean(self.values):.5f}", f"{perf_counter() - self.started:.1f}"]
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow(row)
            self.values.clear()


def train_codec(config: CodecRunConfig, clips: Path, folder: Path, command: str) -> Codec:
    """Train a codec on renders of the worlds and crops of a folder of clips, and write it to `folder`.

    An interrupted training resumes from the folder's last checkpoint, to the same bits.

    Args:
        config: settings of the training.
        clips: folder of real clips.
        folder: output folder of codec, curve and provenance.
        command: command line of the user, for the provenance.
    """
    torch.set_num_threads(config.threads)
    seed_everything(config.seed, verbose=False)
    files = sorted(path for path in clips.glob("*") if path.suffix.lower() in EXTENSIONS)
    crops = FrameCrops(config.crops, files if config.crops.real else [], config.seed)
    if config.training.decoder_only and config.start is None:
        raise ValueError("training.decoder_only keeps an encoder as it is, so it needs start=FOLDER")
    codec = (
        Codec(config.codec) if config.start is None else Codec.load(config.start).train().requires_grad_(True)
    )
    system = CodecSystem(codec, config.training, config.seed)
    system.to(memory_format=torch.channels_last)
    _fit(
        system, crops, folder, "codec/psnr", config.training.steps,
        callbacks=[_checkpoints(folder, config.checkpoint_every)], gradient_clip=1.0,
    )  # fmt: skip
    codec.to(memory_format=torch.contiguous_format)
    codec.eval()
    if not config.training.decoder_only:
        held_out = FrameCrops(config.crops, files, config.seed + 1)
        batches = [held_out.batch(index)["frames"] for index in range(config.statistics_batches)]
        fit_latent_statistics(codec, torch.cat(batches))
    with replacing_files(folder) as unfinished:
        codec.save(unfinished)
    clips_sha256 = {path.name: file_sha256(path) for path in files}
    known = {"clips": clips_sha256, "measured": codec_fidelity(codec)}
    _write_provenance(folder, command, config, codec.sha256, known)
    return codec


@torch.no_grad()
def codec_fidelity(codec: Codec) -> dict[str, dict[str, float]]:
    """PSNR in dB of the round trip of 24 held-out videos of each world, all over and inside the objects."""
    found: dict[str, dict[str, float]] = {}
    for variant in VARIANTS:
        world = render(WorldConfig(frames=8, variant=variant), range(24))
        pixels = to_pixels(world.frames)
        error = ((codec.decode(codec.encode(pixels)) - pixels) / 2).square()
        inside = error[world.masks.any(2)[:, None].expand_as(error)]
        found[variant] = {
            name: round(float(-10 * part.mean().log10()), 2)
            for name, part in (("psnr_db", error), ("psnr_inside_masks_db", inside))
        }
    return found


def pretrain_base(config: PretrainConfig, folder: Path, cache: Path, command: str) -> FramePackModel:
    """Train the base on packed contexts, resuming from the folder's last checkpoint.

    Args:
        config: settings of the training.
        folder: output folder of checkpoints, model, curve and provenance.
        cache: cache folder of encoded videos.
        command: command line of the user, for the provenance.
    """
    torch.set_num_threads(config.threads)
    seed_everything(config.seed, verbose=False)
    codec = Codec.load(config.codec)
    videos = together(
        [
            world_latents(
                WorldConfig(**{**asdict(config.world), "variant": variant}),
                range(config.first_seed, config.first_seed + count),
                codec,
                cache,
            )
            for variant, count in config.videos.items()
        ]
    )
    backbone = replace(config.backbone, channels=codec.channels, words=WordsConfig(words=VOCABULARY))
    model = FramePackModel(TinyDiT(backbone), config.sections.kernels, config.objective.flow.output)
    model.packer.initialise_from(model.backbone.embed)
    if config.start is not None:
        _start_from(model, FramePackModel.load(config.start))
    if config.fresh_projections:
        model.packer.initialise_from(model.packer.base_projection())
    if config.compile:
        model.compile_blocks()
    system = FramePackSystem(
        model, config.sections, config.objective, config.optimizer, steps=config.steps, seed=config.seed
    )
    batches = LatentBatches(videos, config.batch, config.seed, rank=this_rank(), ranks=config.devices)
    averaging = EMAWeightAveraging(decay=config.ema)
    _fit(
        system, batches, folder, "train/loss", config.steps,
        callbacks=[averaging, _checkpoints(folder, config.checkpoint_every)],
        gradient_clip=config.gradient_clip, devices=config.devices,
    )  # fmt: skip
    model.eval()
    if this_rank() == 0:
        with replacing_files(folder) as unfinished:
            model.save(unfinished)
        known = {"encoder_sha256": codec.encoder_sha256}
        _write_provenance(folder, command, config, model.sha256, known)
    return model


def this_rank() -> int:
    """Rank of this process among those that share each batch; only the first writes."""
    return int(os.environ.get("LOCAL_RANK", 0))  # set by lightning for the processes that it starts


def _start_from(model: FramePackModel, other: FramePackModel) -> None:
    """Copy another model's weights; features that it lacks start at zero and change nothing."""
    lacking, unknown = model.load_state_dict(other.state_dict(), strict=False)
    added = [name for name in lacking if not name.startswith("backbone.moment.")]
    if unknown or added:
        raise ValueError(
            f"start: the models differ in {', '.join([*unknown, *added][:5])}; start from a base of the same "
            "backbone (backbone.moments may be added)"
        )


def world_latents(world: WorldConfig, seeds: range, codec: Codec, cache: Path) -> LatentVideos:
    """Return encoded videos of the world, from the cache where possible."""
    description: dict[str, object] = {
        "world": asdict(world),
        "seeds": [seeds.start, seeds.stop],
        "encoder": codec.encoder_sha256,
    }

    def chunks() -> Iterator[VideoChunk]:
        for chunk in iterate(world, seeds):
            yield VideoChunk(chunk.frames, chunk.captions, tuple(scene.seed for scene in chunk.scenes))

    @torch.no_grad()
    def make() -> LatentVideos:
        return encode_videos(chunks(), codec.encode)

    return cached(cache, description, make)


def _checkpoints(folder: Path, every: int) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, save_last=True, every_n_train_steps=every, save_top_k=0, enable_version_counter=False
    )


def _fit(
    system: LightningModule,
    batches: FrameCrops | LatentBatches,
    folder: Path,
    metric: str,
    steps: int,
    *,
    callbacks: list[Callback],
    gradient_clip: float,
    devices: int = 1,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.ckpt"
    stored = usable_checkpoint(last, warnings.warn)
    batches.first_batch = 0 if stored is None else int(stored["global_step"])
    with quiet_lightning():
        trainer = Trainer(
            max_steps=steps,
            accelerator="auto",
            devices=devices,
            # the first process runs the command again for every further one; a section's context leaves some
            # projections out, which then have no gradient
            strategy=DDPStrategy(find_unused_parameters=True) if devices > 1 else "auto",
            logger=False,
            enable_model_summary=False,
            gradient_clip_val=gradient_clip,
            plugins=[CheckpointFiles()],
            callbacks=[
                *callbacks,
                *([_Ended()] if devices > 1 else []),
                _Curve(folder / CURVE_FILE, metric, batches.first_batch),
            ],
        )
        trainer.fit(
            system,
            DataLoader(batches, batch_size=None),
            ckpt_path=None if stored is None else last,
            weights_only=True,
        )


def _write_provenance(
    folder: Path,
    command: str,
    config: CodecRunConfig | PretrainConfig,
    sha256: str,
    known: Mapping[str, Any],
) -> None:
    """Write the provenance of a model and of the one that it started from."""
    start = {} if config.start is None else {"start": provenance_of(Path(config.start))}
    record = {
        "command": command,
        "config": asdict(config),
        **known,
        **start,
        "sha256": sha256,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "curve": CURVE_FILE,
    }
    write_text(folder / PROVENANCE_FILE, json.dumps(record, indent=2) + "\n")
