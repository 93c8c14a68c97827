"""Training of the base that arms fine-tune from: an arm whose sections are drawn from many recipes."""

import os
import signal
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging

from fp_data.atomic import replacing_files
from fp_data.latents import LatentBatches, LatentVideos, cached, encode_videos, together
from fp_data.worlds import VARIANTS, VOCABULARY, WorldConfig, covered
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, WordsConfig
from fp_lab.checks.ranges import MOST_SEED, THREADS, check_ranges
from fp_lab.codecs.tiny import Codec
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.lab.config import TrainingConfig
from fp_lab.lab.config.experiment import FIRST_TRAINING_SEED
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.materials.videos import world_videos
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.training.fit_with_curve import fit_with_curve
from fp_lab.lab.training.model_record import write_record
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import MixedSections
from fp_lab.training.framepack_system import FramePackSystem
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig


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
        recall_weight: added weight of the loss in cells that only memory can tell, see `recall_weights`.
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
    recall_weight: float = 0.0
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
        check_ranges(
            "",
            self,
            ema="[0, 1)",
            gradient_clip="[0, inf)",
            recall_weight="[0, inf)",
            seed=f"[0, {MOST_SEED}]",
        )
        check_ranges("", self, first_seed=f"[{FIRST_TRAINING_SEED}, {MOST_SEED}]")
        if self.batch % self.devices:
            raise ValueError(
                f"batch: got {self.batch}, expected a multiple of devices ({self.devices}), which share it"
            )
        if not self.videos or min(self.videos.values()) < 0 or not any(self.videos.values()):
            raise ValueError(f"videos: got {self.videos}, expected numbers of videos of some worlds")
        if unknown := [variant for variant in self.videos if variant not in VARIANTS]:
            raise ValueError(f"videos: got {', '.join(unknown)}, expected some of {', '.join(VARIANTS)}")


def pretrain_base(
    config: PretrainConfig, folder: Path, cache: Path, command: str, reporter: Reporter | None = None
) -> FramePackModel:
    """Train the base on packed contexts, resuming from the folder's last checkpoint.

    Args:
        config: settings of the training.
        folder: output folder of checkpoints, model, curve and provenance.
        cache: cache folder of encoded videos.
        command: command line of the user, for the provenance.
        reporter: receiver of progress.

    Raises:
        ValueError: another process writes into the folder.
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
        model,
        config.sections,
        config.objective,
        config.optimizer,
        steps=config.steps,
        seed=config.seed,
        recall_weight=config.recall_weight,
    )
    batches = LatentBatches(videos, config.batch, config.seed, rank=this_rank(), ranks=config.devices)
    settings = TrainingConfig(
        config.steps,
        config.batch,
        gradient_clip=config.gradient_clip,
        checkpoint_every=config.checkpoint_every,
        devices=config.devices,
    )
    callbacks = [EMAWeightAveraging(decay=config.ema), *([_Ended()] if config.devices > 1 else [])]
    reporter = reporter if reporter is not None and this_rank() == 0 else Reporter()
    with only_writer(folder) if this_rank() == 0 else nullcontext():
        fit_with_curve(system, batches, settings, folder, "train/loss", callbacks, reporter)
        model.eval()
        if this_rank() == 0:
            with replacing_files(folder) as unfinished:
                model.save(unfinished)
            made = {"encoder_sha256": codec.encoder_sha256, "sha256": model.sha256}
            write_record(folder, command, config, made)
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

    @torch.no_grad()
    def make() -> LatentVideos:
        return encode_videos(world_videos(world, seeds), codec.encode)

    videos = cached(cache, description, make)
    frames, rows, _ = videos.latents.shape[2:]
    # a cell counts as hidden where any of its pixels is
    covers = F.max_pool2d(covered(world, seeds).float(), world.size // rows) > 0
    return replace(videos, hidden=covers.expand(-1, frames, -1, -1))


class _Ended(Callback):
    """Restores the default of SIGTERM: in lightning's handler ranks can wait for each other forever."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the handler that lightning has set."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
