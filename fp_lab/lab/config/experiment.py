"""What an experiment is: frozen dataclasses, checked when they are made."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from fp_data.clips import ClipsConfig
from fp_data.worlds import WorldConfig
from fp_lab.backbones.diffusers.lora import LoraConfig
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.causal import Blocks
from fp_lab.checks.ranges import FPS, MOST_SEED, THREADS, check_once, check_ranges
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe, parse
from fp_lab.sampling.rollout import SamplingConfig
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig

FIRST_TRAINING_SEED = 10_000
"""Seeds below are for evaluation, this one and those above for training: no video is in both."""
Dtype = Literal["float32", "bfloat16", "float16"]
CARRIED = "carried"
"""A clips folder of this name stands for the clips that `fp-lab data get clips` brings."""


@dataclass(frozen=True)
class DataConfig:
    """The videos.

    Attributes:
        kind: ``world`` (synthetic) or ``clips`` (a folder of video files).
        train_videos: training videos, encoded once.
        first_seed: seed of the first training video, at least 10,000.
        world: the synthetic world, for kind ``world``.
        clips: the folder and the windows cut from it, for kind ``clips``; the folder ``carried`` stands for
            the clips of `fp-lab data get clips`, which are fetched when they are missing.
        cache: folder of `fp-lab encode` that training videos come from, for arms over a transformer of
            diffusers; null: videos of `kind`, from which evaluation videos come either way.
    """

    kind: Literal["world", "clips"] = "world"
    train_videos: int = 256
    first_seed: int = FIRST_TRAINING_SEED
    world: WorldConfig = field(default_factory=WorldConfig)
    clips: ClipsConfig = field(default_factory=lambda: ClipsConfig(folder=CARRIED))
    cache: str | None = None

    def __post_init__(self) -> None:
        """Keep training seeds apart from evaluation seeds."""
        first = f"[{FIRST_TRAINING_SEED}, {MOST_SEED}]"
        check_ranges("data", self, train_videos="[1, inf)", first_seed=first)

    @property
    def frames(self) -> int:
        """Length of a training video."""
        return self.world.frames if self.kind == "world" else self.clips.frames

    @property
    def size(self) -> int:
        """Height and width of the videos, pixels."""
        return self.world.size if self.kind == "world" else self.clips.size


@dataclass(frozen=True)
class CodecSource:
    """Which codec.

    Attributes:
        source: ``shipped``, a folder written by `fp-lab codec train`, or a folder or hub id in diffusers'
            format with the VAE of HunyuanVideo or Wan, which makes one latent frame of four frames.
        dtype: of the weights of such a VAE.
        tiling: decode large frames of such a VAE in tiles, for less memory.
        slicing: decode the videos of a batch one by one, likewise.
    """

    source: str = "shipped"
    dtype: Dtype = "float32"
    tiling: bool = False
    slicing: bool = False


@dataclass(frozen=True)
class ModelSource:
    """What training starts from.

    Attributes:
        base: ``shipped``, a folder with a trained model, a folder or hub id in diffusers' format with a
            transformer of HunyuanVideo, FramePack or Wan, or null to start from random weights.
        backbone: size of the transformer where base is null; its channels are the codec's.
        lora: adapters of a transformer of diffusers, trained in place of its weights; null: all weights.
        dtype: of its weights where they are frozen or only sampled from.
        encoder_dtype: of its text and image encoders and of what they make; null: as `dtype`.
        checkpointing: compute its blocks again in the backward pass, for less memory.
        conditions: pipeline folder or hub id with its text encoders; null: that of `base`.
        images: the same with its image encoder, if it is elsewhere.
    """

    base: str | None = "shipped"
    backbone: TinyDiTConfig = field(default_factory=TinyDiTConfig)
    lora: LoraConfig | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    encoder_dtype: Dtype | None = None
    checkpointing: bool = False
    conditions: str | None = None
    images: str | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """How an arm is trained.

    Attributes:
        steps: optimiser steps.
        batch: videos per step.
        ema: decay of the averaged weights, which are the ones that are kept and sampled from.
        precision: of lightning's Trainer.
        gradient_clip: largest gradient norm.
        checkpoint_every: steps between checkpoints to resume from.
        threads: CPU threads; results depend on them in the last digits.
        accelerator: of lightning's Trainer; sampling follows.
        devices: GPUs per machine (with ``accelerator: cpu`` processes) that share each batch.
        nodes: machines that share each batch.
        strategy: how they share the work: each holds the whole model (``ddp``, which auto stands for) or a
            part of it (``fsdp``). Nothing is shared on one device.
        workers: processes that read training videos ahead, for those that come from `data.cache`.
        compute_of: name of a recipe; steps then become as many as cost what `steps` of that recipe cost.
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
        """Refuse what cannot be trained."""
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
        """Processes that train together."""
        return self.devices * self.nodes


@dataclass(frozen=True)
class TrackConfig:
    """Checkpoints that are kept to see how scores and drift change over a training; they do not change it.

    Attributes:
        every: steps between two of them, the last step always among them; 0: none.
        keep: so many of the newest keep their weights and samples, and so does the best; null: all. Scores
            are never removed.
        score: generate and score the evaluation set from each one as it is saved; else `fp-lab track` does.
        videos: how many of the evaluation set; null: all.
        best: by what the best is chosen: family and score for the highest (or lowest, where that is better)
            score, ``.drift`` behind them for the least drift, mean |d|.
    """

    every: int = 0
    keep: int | None = None
    score: bool = True
    videos: int | None = None
    best: str = "plain/clarity.drift"

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        check_ranges("track", self, every="[0, inf)", keep="[1, inf)", videos="[1, inf)")
        family, slash, score = self.best.removesuffix(".drift").partition("/")
        if not (family and slash and score):
            raise ValueError(
                f"track.best: got {self.best!r}, expected family/score or family/score.drift, such as "
                "world/anatomy.drift"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """The videos that every arm generates and is measured on.

    Attributes:
        videos: how many.
        frames: their length in latent frames, the given ones included.
        given: how many latent frames they begin with: 0 for text to video, 1 for image to video, more for the
            extension of clips.
        first_seed: of the first one, which also seeds its noise; all seeds lie below 10,000.
        families: of estimators.
        perceptual: also measure LPIPS and ST-LPIPS against the true videos; slow, and needs weights.
        fps: of the mp4 files that are written.
        batch: videos generated at once.
        strips: how many videos are also written as mp4.
        shuffled: whether what is called true history is that of the next video: a control, which can
            recall no more than no history does.
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

    def __post_init__(self) -> None:
        """Keep evaluation seeds apart from training seeds."""
        check_ranges("evaluation", self, videos="[1, inf)", frames="[2, inf)", first_seed="[0, inf)")
        check_ranges("evaluation", self, batch="[1, inf)", strips="[0, inf)", fps=FPS)
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
    """One arm with one seed: everything that its figures depend on.

    Attributes:
        recipe: canonical ablation name; files may give the parts instead (``compression``, ``order``, ...).
        data: the videos.
        codec: pixels to latents.
        model: what training starts from.
        context: options of the packed context beside the name.
        objective: what is asked of the model in training.
        optimizer: AdamW and its schedule.
        training: steps, batch, precision.
        sampling: solver, guidance, fill.
        evaluation: the videos that are generated and measured.
        track: checkpoints to follow scores and drift over the training.
        seed: of training.
        label: name of an arm that is more than its recipe, such as a baseline's.
        protocol: of a baseline, see `fp_lab.baselines`.
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

    def __post_init__(self) -> None:
        """Check what no single part can check."""
        check_ranges("", self, seed=f"[0, {MOST_SEED}]")
        recipe = self.parsed_recipe
        if self.context.attention == "block_causal":
            Blocks.of(recipe)
        told = self.context.timestep == "level"
        if not told and (self.objective.history.level != "clean" or self.sampling.history_level):
            raise ValueError(
                f"context.timestep: got {self.context.timestep!r} with objective.history.level "
                f"{self.objective.history.level!r} and sampling.history_level {self.sampling.history_level}, "
                "expected 'level': the model has to be told the noise of its history"
            )
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

    @cached_property
    def parsed_recipe(self) -> Recipe:
        """The recipe behind the name."""
        return parse(self.recipe)
