"""Floating-point operations of steps, and numbers of steps at equal compute."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import mul
from pathlib import Path
from statistics import fmean
from typing import ClassVar, Protocol, runtime_checkable

from fp_data.shard_manifest import Manifest
from fp_lab.backbones.tiny import TinyDiTConfig
from fp_lab.codecs.video import latent_frames
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.weights import is_own, own_codec_sizes
from fp_lab.lab.model_families.choose import family_of
from fp_lab.lab.model_families.diffusers import DiffusersModels
from fp_lab.lab.model_families.family import ModelFamily
from fp_lab.lab.model_families.own import OwnModels
from fp_lab.lab.planning.latent_shape import LatentShape, Strides
from fp_lab.model import stored_backbone
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.token_counts import context_tokens, kernel_tokens
from fp_lab.recipe import BASE, Recipe
from fp_lab.recipe.orders import plan
from fp_lab.training.history.source import sampled_beside

BACKWARD = 3
"""Cost of a step of the lab's own backbone, in forward passes."""


def forward_flops(backbone: TinyDiTConfig, tokens: int) -> float:
    """Floating-point operations of one forward pass of a video, matrix products alone.

    Per block and token ``2 d^2 (4 + 2 r)`` for projections and MLP, ``4 n d`` for attention, and ``4 d^2``
    for the query and output of cross-attention where there is one; a backward pass costs twice as much.

    Args:
        backbone: width d, depth, MLP ratio r.
        tokens: number of tokens of context and section, n.
    """
    width, blocks = backbone.width, backbone.depth
    reading = -(-blocks // backbone.text_every)
    linear = blocks * 2 * width**2 * (4 + 2 * backbone.mlp_ratio) + reading * 4 * width**2
    return tokens * (linear + blocks * 4 * tokens * width)


@lru_cache(maxsize=4096)
def plan_flops(
    recipe: Recipe,
    backbone: TinyDiTConfig,
    frames: int,
    rows: int,
    columns: int,
    context: ContextConfig | None = None,
) -> tuple[float, ...]:
    """`forward_flops` of every section of a video's plan with its context; arms share many."""
    return tuple(
        forward_flops(
            backbone,
            kernel_tokens(len(section.targets), BASE, rows, columns)
            + context_tokens(recipe, section, frames, rows, columns, context).total,
        )
        for section in plan(recipe, frames)
    )


def training_shapes(config: ExperimentConfig) -> dict[LatentShape, int]:
    """Latent shapes of an arm's training videos, and the number of videos of each.

    Raises:
        ValueError: the cache is missing, or the codec's config is not on this machine.
    """
    if config.data.cache is not None:
        shapes = Manifest.load(Path(config.data.cache)).shapes
        return {LatentShape(*shape): count for shape, count in shapes.items()}
    frames = latent_frames(config.data.frames, strides_of(config).temporal)
    return {shape_of(config, frames): config.data.train_videos}


def shape_of(config: ExperimentConfig, frames: int) -> LatentShape:
    """Latent shape of an arm's videos of `frames` latent frames.

    Raises:
        ValueError: the codec's config is not on this machine, see `strides_of`.
    """
    side = config.data.size // strides_of(config).spatial
    return LatentShape(frames, side, side)


def strides_of(config: ExperimentConfig) -> Strides:
    """Strides of an arm's codec, without loading it.

    Raises:
        ValueError: the codec's config is not on this machine.
    """
    if is_own("codec", config.codec.source):
        sizes = own_codec_sizes(config.codec.source)
        return Strides(sizes.spatial, sizes.temporal)
    from fp_lab.lab.planning.arm_flops import video_strides  # slow to import

    return video_strides(config.codec)


def step_flops(config: ExperimentConfig, shape: LatentShape | None = None) -> float:
    """Floating-point operations of a training step per sample, mean over the plan.

    Forward passes of the source of histories are added.

    Args:
        config: settings of the arm.
        shape: latent shape of the training videos; by default all shapes, weighted by their number of videos.

    Raises:
        ValueError: the shapes are unknown, or the transformer's config is not on this machine.
    """
    if shape is None:
        shapes = training_shapes(config)
        return fmean([step_flops(config, each) for each in shapes], list(shapes.values()))
    return costs_of(config).training_flops(shape)


@runtime_checkable
class ArmCosts(Protocol):
    """Costs of an arm that are known before it is run.

    Attributes:
        timed: whether a training step is cheap enough to time; else a large matrix product stands for it.
        memory: upper bound of the memory of an arm's process, bytes; infinite for one that takes a machine.
    """

    timed: ClassVar[bool]
    memory: ClassVar[float]

    def training_flops(self, shape: LatentShape) -> float:
        """Floating-point operations of a training step per sample, mean over the plan."""

    def sampling_flops(self, calls: int) -> float:
        """Floating-point operations of one video of the evaluation set, at so many calls per section."""

    def token_bytes(self) -> int:
        """Lower bound of the memory of a context token at the input of the backbone, bytes."""


@dataclass(frozen=True)
class _OwnCosts:
    """Closed forms, of fp_lab's own backbones."""

    config: ExperimentConfig
    timed: ClassVar[bool] = True
    memory: ClassVar[float] = 1.6e9  # measured 1.3 GB at most

    def training_flops(self, shape: LatentShape) -> float:
        config, size = self.config, (shape.frames, shape.rows, shape.columns)
        forwards = plan_flops(config.parsed_recipe, own_backbone(config), *size, config.context)
        beside = sampled_beside(config.objective.history, len(forwards))
        return BACKWARD * fmean(forwards) + beside.steps * sum(map(mul, beside.shares, forwards))

    def sampling_flops(self, calls: int) -> float:
        config, evaluation = self.config, self.config.evaluation
        given = frozenset(range(evaluation.given))
        sections = plan(config.parsed_recipe, evaluation.frames, given=given, fill=config.sampling.fill)
        return len(sections) * calls * step_flops(with_true_history(config)) / BACKWARD

    def token_bytes(self) -> int:
        return 4 * own_backbone(self.config).width  # in float32


@dataclass(frozen=True)
class _DiffusersCosts:
    """Operations as PyTorch counts them, by the stored config of a transformer of diffusers."""

    config: ExperimentConfig
    timed: ClassVar[bool] = False
    memory: ClassVar[float] = math.inf

    def training_flops(self, shape: LatentShape) -> float:
        from fp_lab.lab.planning.arm_flops import training_flops  # slow to import

        return training_flops(self.config, shape)

    def sampling_flops(self, calls: int) -> float:
        from fp_lab.lab.planning.arm_flops import sampling_flops  # slow to import

        return sampling_flops(self.config, shape_of(self.config, self.config.evaluation.frames), calls)

    def token_bytes(self) -> int:
        return 0  # little beside the weights


COSTS: Mapping[type[ModelFamily], Callable[[ExperimentConfig], ArmCosts]] = {
    OwnModels: _OwnCosts,
    DiffusersModels: _DiffusersCosts,
}
"""Costs by family of models."""


def costs_of(config: ExperimentConfig) -> ArmCosts:
    """Return the costs of an arm, by its family of models."""
    return COSTS[type(family_of(config))](config)


def training_tflop(config: ExperimentConfig, shape: LatentShape | None = None) -> float:
    """Operations of a whole training in matrix products, 10^12: its cost on any machine.

    Args:
        config: settings of the arm.
        shape: latent shape as in `step_flops`, whose errors become NaN here.
    """
    try:
        flops = step_flops(config, shape)
    except ValueError:
        return math.nan
    return flops * config.training.batch * config.training.steps / 1e12


def at_equal_compute(config: ExperimentConfig) -> ExperimentConfig:
    """Set the number of steps to cost as much as with recipe `training.compute_of`, and clear that key.

    That recipe's histories are the true ones; what the arm's source of histories costs is in its own steps.

    Raises:
        ValueError: operations cannot be counted, see `step_flops`.
    """
    wanted = config.training.compute_of
    if wanted is None:
        return config
    try:
        ratio = step_flops(_with_recipe(config, wanted)) / step_flops(config)
    except ValueError as error:
        raise ValueError(
            f"training.compute_of: got {wanted}, expected training.steps instead: the operations of this arm "
            f"cannot be counted: {error}"
        ) from error
    steps = max(1, round(config.training.steps * ratio))
    return replace(config, training=replace(config.training, steps=steps, compute_of=None))


def _with_recipe(config: ExperimentConfig, recipe: str) -> ExperimentConfig:
    """Return the config with true histories and another recipe, which need not be one of blocks."""
    context = config.context
    context = replace(context, attention="full") if context.attention == "block_causal" else context
    return replace(with_true_history(config), recipe=recipe, context=context)


def with_true_history(config: ExperimentConfig) -> ExperimentConfig:
    """Return the config with true histories, whose steps have no forward passes but their own."""
    history = replace(config.objective.history, source="true")
    return replace(config, objective=replace(config.objective, history=history))


def own_backbone(config: ExperimentConfig) -> TinyDiTConfig:
    """Backbone settings of an arm over the lab's own backbone: of the base, or without base of the config."""
    if config.model.base is None:
        return config.model.backbone
    return stored_backbone(config.model.base)
