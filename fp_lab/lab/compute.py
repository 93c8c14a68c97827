"""Equal compute: how many steps of an arm cost as much as those of another recipe."""

import math
from dataclasses import replace
from statistics import fmean

from fp_lab.backbones import TinyDiTConfig
from fp_lab.lab.config import LATENT_STRIDE, ExperimentConfig
from fp_lab.lab.real import is_real
from fp_lab.model import FramePackModel
from fp_lab.orders import plan
from fp_lab.packing.schedule import context_tokens, kernel_tokens
from fp_lab.recipe import BASE, Recipe, parse


def forward_flops(backbone: TinyDiTConfig, tokens: int) -> float:
    """Floating-point operations of one forward pass of a video, matrix products alone.

    Per block and token ``2 d^2 (4 + 2 r)`` for projections and MLP, ``4 n d`` for attention, and ``4 d^2``
    for the query and output of cross-attention where there is one; a backward pass costs twice as much.

    Args:
        backbone: width d, depth, MLP ratio r.
        tokens: of context and section, n.
    """
    width, blocks = backbone.width, backbone.depth
    reading = -(-blocks // backbone.text_every)
    linear = blocks * 2 * width**2 * (4 + 2 * backbone.mlp_ratio) + reading * 4 * width**2
    return tokens * (linear + blocks * 4 * tokens * width)


def section_flops(recipe: Recipe, backbone: TinyDiTConfig, frames: int, rows: int, columns: int) -> float:
    """Mean `forward_flops` of a section with its context, over the plan of a video."""
    return fmean(
        forward_flops(
            backbone,
            kernel_tokens(len(section.targets), BASE, rows, columns)
            + context_tokens(recipe, section, frames, rows, columns).total,
        )
        for section in plan(recipe, frames)
    )


def sample_flops(config: ExperimentConfig) -> float:
    """`section_flops` of a training sample of an arm; a training step costs three times as much.

    NaN for a transformer of diffusers, whose operations `fp-lab plan` counts.
    """
    if is_real(config):
        return math.nan
    side = config.data.size // LATENT_STRIDE
    return section_flops(config.parsed_recipe, _backbone(config), config.data.frames, side, side)


def training_tflop(config: ExperimentConfig) -> float:
    """Matrix products of a whole training, 10^12 operations: what it costs on any machine."""
    return 3 * sample_flops(config) * config.training.batch * config.training.steps / 1e12


def at_equal_compute(config: ExperimentConfig) -> ExperimentConfig:
    """A config whose steps cost what they would with recipe `training.compute_of`, a key then done with."""
    wanted = config.training.compute_of
    if wanted is None:
        return config
    if is_real(config):
        raise ValueError(
            f"training.compute_of: got {wanted} with the transformer {config.model.base}, expected null: "
            "operations are counted for the lab's own backbone alone; say the steps"
        )
    side = config.data.size // LATENT_STRIDE
    size = (_backbone(config), config.data.frames, side, side)
    ratio = section_flops(parse(wanted), *size) / section_flops(config.parsed_recipe, *size)
    steps = max(1, round(config.training.steps * ratio))
    return replace(config, training=replace(config.training, steps=steps, compute_of=None))


def _backbone(config: ExperimentConfig) -> TinyDiTConfig:
    """Of the base, or of what is trained from random weights."""
    if config.model.base is None:
        return config.model.backbone
    stored: TinyDiTConfig = FramePackModel.load(config.model.base).backbone.config
    return stored
