"""Settings of an experiment: frozen dataclasses, validated on construction."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fp_data.clips import ClipsConfig
from fp_data.worlds import WorldConfig
from fp_lab.backbones.diffusers.lora import LoraConfig
from fp_lab.backbones.protocol import BACKBONES
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.causal import Blocks
from fp_lab.checks.ranges import FPS, MOST_SEED, THREADS, check_once, check_ranges
from fp_lab.flow.history_sources import ONE_PROCESS
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe, parse
from fp_lab.sampling.settings import SamplingConfig, check_switches
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig

FIRST_TRAINING_SEED = 10_000
"""First seed of training videos. Lower seeds are for evaluation, so no video is in both."""
Dtype = Literal["float32", "bfloat16", "float16"]
CARRIED = "carried"
"""Name of the clips folder that stands for the clips of `fp-lab data get clips`."""


@dataclass(frozen=True)
class DataConfig:
    """Training and evaluation videos.

    Attributes:
        kind: ``world`` (synthetic) or ``clips`` (a folder of video files).
        train_videos: number of training videos, encoded once.
        first_seed: seed of the first training video, at least 10,000.
        world: settings of the synthetic world, for kind ``world``.
        clips: folder and windows of the clips, for kind ``clips``; the folder ``carried`` stands for the
            clips of `fp-lab data get clips`, which are fetched when they are missing.
        cache: folder of `fp-lab encode` with the training videos, for arms over a transformer of diffusers;
            null: videos of `kind`, which evaluation videos always are.
    """

    kind: Literal["world", "clips"] = "world"
    train_videos: int = 256
    first_seed: int = FIRST_TRAINING_SEED
    world: WorldConfig = field(default_factory=WorldConfig)
    clips: ClipsConfig = field(default_factory=lambda: ClipsConfig(folder=CARRIED))
    cache: str | None = None

    def __post_init__(self) -> None:
        """Check that training seeds are apart from evaluation seeds."""
        first = f"[{FIRST_TRAINING_SEED}, {MOST_SEED}]"
        check_ranges("data", self, train_videos="[1, inf)", first_seed=first)

    @property
    def frames(self) -> int:
        """Frames of a training video."""
        return self.world.frames if self.kind == "world" else self.clips.frames

    @property
    def size(self) -> int:
        """Height and width of the videos, pixels."""
        return self.world.size if self.kind == "world" else self.clips.size


@dataclass(frozen=True)
class CodecSource:
    """Codec to use.

    Attributes:
        source: ``shipped``, a codec of a plugin, a folder written by `fp-lab codec train`, or a folder or hub
            id in diffusers' format with the VAE of HunyuanVideo or Wan, which makes one latent frame of four
            frames.
        dtype: data type of the weights of such a VAE.
        tiling: whether such a VAE decodes large frames in tiles, for less memory.
        slicing: whether such a VAE decodes the videos of a batch one by one, for less memory.
    """

    source: str = "shipped"
    dtype: Dtype = "float32"
    tiling: bool = False
    slicing: bool = False


@dataclass(frozen=True)
class ModelSource:
    """Model that training starts from.

    Attributes:
        base: ``shipped``, a folder with a trained model, a folder or hub id in diffusers' format with a
            transformer of HunyuanVideo, FramePack or Wan, or null to start from random weights.
        architecture: transformer where `base` is null: ``tiny``, or what a plugin registers.
        backbone: size of the transformer where `base` is null; its channels are the codec's.
        lora: LoRA adapters of a transformer of diffusers, trained in place of its weights; null: all weights.
        dtype: data type of the transformer's weights where they are frozen or only sampled from.
        encoder_dtype: data type of the text and image encoders and their embeddings; null: as `dtype`.
        checkpointing: whether blocks are recomputed in the backward pass, for less memory.
        conditions: pipeline folder or hub id with the text encoders; null: that of `base`.
        images: pipeline folder or hub id with the image encoder; null: that of the text encoders.
    """

    base: str | None = "shipped"
    architecture: str = "tiny"
    backbone: TinyDiTConfig = field(default_factory=TinyDiTConfig)
    lora: LoraConfig | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    encoder_dtype: Dtype | None = None
    checkpointing: bool = False
    conditions: str | None = None
    images: str | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown architecture, and one beside a base, which has its own."""
        BACKBONES.require("model.architecture", self.architecture)
        if self.base is not None and self.architecture != "tiny":
            raise ValueError(
                f"model.architecture: got {self.architecture!r} with model.base {self.base}, expected "
                "model.base null: a base has an architecture of its own"
            )


@dataclass(frozen=True)
class TrainingConfig:
    """Training of an arm.

    Attributes:
        steps: number of optimiser steps.
        batch: videos per step.
        ema: decay of the averaged weights, which are stored and sampled from.
        precision: precision of lightning's Trainer.
        gradient_clip: largest gradient norm.
        checkpoint_every: steps between checkpoints to resume from.
        threads: CPU threads; results depend on them in the last digits.
        accelerator: accelerator of lightning's Trainer, used for sampling too.
        devices: GPUs per machine (with ``accelerator: cpu`` processes) that share each batch.
        nodes: number of machines that share each batch.
        strategy: split of the model over devices: each holds it whole (``ddp``, which auto stands for) or a
            part of it (``fsdp``). Unused on one device.
        workers: number of processes that read training videos from `data.cache` ahead.
        compute_of: name of a recipe; the number of steps is then scaled to cost as much as `steps` of that
            recipe.
    """

    steps: int = 80
    batch: int = 16
    ema: float = 0.97
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    gradient_clip: float = 1.0
    checkpoint_every: int = 20
    threads: int = 2
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    workers: int = 0
    compute_of: str | None = None

    def __post_init__(self) -> None:
        """Check that this can be trained."""
        counts = ("steps", "batch", "checkpoint_every", "devices", "nodes")
        check_ranges("training", self, **dict.fromkeys(counts, "[1, inf)"), threads=THREADS)
        check_ranges("training", self, workers="[0, inf)", ema="[0, 1)", gradient_clip="[0, inf)")
        if self.batch % self.ranks:
            raise ValueError(
                f"training.batch: got {self.batch}, expected a multiple of training.devices x training.nodes "
                f"({self.ranks}): each takes an equal share of a batch"
            )

    @property
    def ranks(self) -> int:
        """Number of processes that train together."""
        return self.devices * self.nodes


@dataclass(frozen=True)
class TrackConfig:
    """Checkpoints that show how scores and drift change over a training, which they leave unchanged.

    Attributes:
        every: steps between two checkpoints, with one after the last step; 0: none.
        keep: number of newest checkpoints that keep weights and samples, beside the best one; null: all.
            Scores are never removed.
        score: whether each checkpoint generates and scores the evaluation set as it is saved; else `fp-lab
            track` does it.
        videos: number of videos of the evaluation set to use; null: all.
        best: criterion of the best checkpoint: family and score for the highest (or lowest, where that is
            better) score, followed by ``.drift`` for the least drift, mean |d|.
    """

    every: int = 0
    keep: int | None = None
    score: bool = True
    videos: int | None = None
    best: str = "plain/clarity.drift"

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_ranges("track", self, every="[0, inf)", keep="[1, inf)", videos="[1, inf)")
        family, slash, score = self.best.removesuffix(".drift").partition("/")
        if not (family and slash and score):
            raise ValueError(
                f"track.best: got {self.best!r}, expected family/score or family/score.drift, such as "
                "world/anatomy.drift"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """Videos that every arm generates and is measured on.

    Attributes:
        videos: number of videos.
        frames: length of each video in latent frames, given ones included.
        given: number of given latent frames: 0 for text to video, 1 for image to video, more for extension of
            clips.
        first_seed: seed of the first video and its noise; all seeds lie below 10,000.
        families: families of estimators to measure.
        perceptual: whether to measure LPIPS and ST-LPIPS against the true videos too; slow, and needs
            weights.
        fps: frames per second of the mp4 files.
        batch: number of videos generated at once.
        strips: number of videos that are also written as mp4.
        shuffled: whether true history is taken from the next video instead: a control that can recall no more
            than no history does.
        without_rollout: number of videos to measure the influence of levels and the errors of single steps
            on; null: as many as take less than 5 % of the time of sampling, at least 3; 0: none.
    """

    videos: int = 16
    frames: int = 64
    given: int = 1
    first_seed: int = 0
    families: tuple[str, ...] = ("plain", "probe", "world")
    perceptual: bool = False
    fps: float = 16.0
    batch: int = 16
    strips: int = 4
    shuffled: bool = False
    without_rollout: int | None = None

    def __post_init__(self) -> None:
        """Check that evaluation seeds are apart from training seeds."""
        check_ranges("evaluation", self, videos="[1, inf)", frames="[2, inf)", first_seed="[0, inf)")
        check_ranges("evaluation", self, batch="[1, inf)", strips="[0, inf)", fps=FPS)
        check_ranges("evaluation", self, without_rollout="[0, inf)")
        check_once("evaluation.families", self.families)
        if not self.families:
            raise ValueError("evaluation.families: got none, expected at least one, such as plain")
        if not 0 <= self.given < self.frames:
            raise ValueError(
                f"evaluation.given: got {self.given}, expected from 0 to {self.frames - 1}, less than "
                "evaluation.frames"
            )
        if self.shuffled and self.videos == 1:
            raise ValueError("evaluation.shuffled: got one video, expected two or more to take history from")
        last = self.first_seed + self.videos - 1
        if last >= FIRST_TRAINING_SEED:
            raise ValueError(
                f"evaluation.first_seed: got seeds up to {last}, expected them below {FIRST_TRAINING_SEED}: "
                "those above are training videos"
            )

    @property
    def seeds(self) -> range:
        """One seed per video."""
        return range(self.first_seed, self.first_seed + self.videos)


@dataclass(frozen=True)
class ExperimentConfig:
    """One arm with one seed: everything that its results depend on.

    Attributes:
        recipe: canonical ablation name; files may give the parts instead (``compression``, ``order``, ...).
        data: training and evaluation videos.
        codec: codec between pixels and latents.
        model: model that training starts from.
        context: options of the packed context that the recipe's name does not tell.
        objective: loss and history corruption.
        optimizer: settings of AdamW and its schedule.
        training: steps, batch size, precision, devices.
        sampling: solver, guidance, fill of the context.
        evaluation: videos that are generated and measured.
        track: checkpoints to follow scores and drift over the training.
        seed: seed of the training.
        label: name of an arm that its recipe does not define alone, such as a baseline's.
        protocol: protocol of a baseline, see `fp_lab.baselines`.
        plugins: modules that register further implementations, see docs/extending.md.
    """

    recipe: str
    data: DataConfig = field(default_factory=DataConfig)
    codec: CodecSource = field(default_factory=CodecSource)
    model: ModelSource = field(default_factory=ModelSource)
    context: ContextConfig = field(default_factory=ContextConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    seed: int = 0
    label: str | None = None
    protocol: str | None = None
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        check_ranges("", self, seed=f"[0, {MOST_SEED}]")
        check_once("plugins", self.plugins)
        recipe = self.parsed_recipe
        if self.context.attention == "block_causal":
            Blocks.of(recipe)
        self._check_history_source()
        told = self.context.timestep == "level"
        if not told and (self.objective.history.level != "clean" or self.sampling.history_level):
            raise ValueError(
                f"context.timestep: got {self.context.timestep!r} with objective.history.level "
                f"{self.objective.history.level!r} and sampling.history_level {self.sampling.history_level}, "
                "expected 'level': the model has to be told the noise of its history"
            )
        check_switches(self.sampling, self.context, recipe)
        if self.data.cache is None and self.training.workers:
            raise ValueError(
                f"training.workers: got {self.training.workers} with data.cache null, expected 0: other "
                "training videos are in memory, where nothing has to be read ahead"
            )
        if self.data.cache is None and self.training.batch > self.data.train_videos:
            raise ValueError(
                f"training.batch: got {self.training.batch}, expected at most data.train_videos "
                f"({self.data.train_videos}): a batch holds different videos"
            )
        if self.training.strategy == "fsdp" and self.context.attention == "isolated":
            raise ValueError(
                "training.strategy: got 'fsdp' with context.attention 'isolated', expected ddp: keys and "
                "values that are computed apart need whole blocks"
            )
        if self.training.strategy == "fsdp" and self.optimizer.kind == "adamw8bit":
            raise ValueError(
                "training.strategy: got 'fsdp' with optimizer.kind 'adamw8bit', expected ddp, or "
                "optimizer.kind=adamw: bitsandbytes cannot step weights that are spread over ranks"
            )
        if (self.track.videos or 0) > self.evaluation.videos:
            raise ValueError(
                f"track.videos: got {self.track.videos}, expected at most evaluation.videos "
                f"({self.evaluation.videos}): they are the first ones of that set"
            )

    def _check_history_source(self) -> None:
        """Refuse a source of histories with a recipe, an attention or processes that it cannot have."""
        source = self.objective.history.source
        if source != "true" and self.parsed_recipe.order == "none":
            raise ValueError(
                f"objective.history.source: got {source!r} with recipe {self.recipe}, which has no history, "
                "expected 'true'"
            )
        if self.context.attention == "block_causal" and source != "true":
            raise ValueError(
                f"objective.history.source: got {source!r} with context.attention 'block_causal', expected "
                "'true': its history are the blocks that it learns to generate"
            )
        if self.training.ranks > 1 and source in ONE_PROCESS:
            raise ValueError(
                f"objective.history.source: got {source!r} with training.devices x training.nodes "
                f"{self.training.ranks}, expected 1: what it keeps is stored for one process"
            )
        if source == "resampled" and self.training.ranks > 1 and self.training.strategy == "fsdp":
            raise ValueError(
                "training.strategy: got 'fsdp' with objective.history.source 'resampled', expected ddp: each "
                "rank resamples the sections that it drew, and a model in parts needs all ranks in every pass"
            )

    @cached_property
    def parsed_recipe(self) -> Recipe:
        """Recipe that the name stands for."""
        return parse(self.recipe)
