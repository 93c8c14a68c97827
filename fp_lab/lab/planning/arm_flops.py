"""Floating-point operations of arms over transformers of diffusers, from configs on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import mul
from statistics import fmean

import torch

from fp_lab.backbones.diffusers.families import stored_settings
from fp_lab.backbones.diffusers.presets import CLASSES, RealModel
from fp_lab.causal import Blocks
from fp_lab.codecs.video import AUTOENCODERS, VideoCodec, autoencoder_class
from fp_lab.lab.config import CodecSource, ExperimentConfig
from fp_lab.lab.planning.latent_shape import LatentShape, Strides
from fp_lab.lab.planning.packed_model import Tokens
from fp_lab.lab.planning.step_flops import Operations, Way, operations
from fp_lab.packing.assignment import assign
from fp_lab.packing.packer import K8, K16
from fp_lab.packing.token_counts import kernel_tokens, packed_frames, tail_tokens
from fp_lab.recipe import BASE, Kernel
from fp_lab.recipe.orders import Section, plan
from fp_lab.training.history.source import sampled_beside
from fp_lab.weights.files import CONFIG_FILE, building
from fp_lab.weights.hub import stored_config

_WORDS = {"hunyuan": 256, "framepack": 256, "wan": 512}
"""Text tokens of a sample: Wan's captions are padded to this length, HunyuanVideo's may be shorter."""
_IMAGE = {"framepack": 729, "wan": 257}
"""Image tokens of the released image encoders."""


@dataclass(frozen=True)
class Sample:
    """A section of an arm as a training sample, or a window of blocks.

    Attributes:
        tokens: noisy tokens, and tokens of the context.
        packing: floating-point operations of the packer's projections.
    """

    tokens: Tokens
    packing: int


def training_flops(config: ExperimentConfig, shape: LatentShape) -> float:
    """Floating-point operations of a training sample, mean over the plans that sections are drawn from.

    Forward passes of the source of histories are added.

    Args:
        config: settings of an arm over a transformer of diffusers.
        shape: latent shape of the training videos.

    Raises:
        ValueError: the transformer's config is not on this machine.
    """
    model, way = model_of_arm(config), way_of_arm(config)

    def of(given: int) -> float:
        planned = list(samples(config, model, shape, given))
        beside = sampled_beside(config.objective.history, len(planned))
        counted = [operations(model, sample.tokens, way) for sample in planned]
        both = list(zip(counted, planned, strict=True))
        learned = fmean(one.step + 2 * sample.packing for one, sample in both)
        sampled = [_sampled(one, sample, beside.steps) for one, sample in both]
        return learned + sum(map(mul, beside.shares, sampled))

    return fmean(map(of, config.objective.given))


def sampling_flops(config: ExperimentConfig, shape: LatentShape, calls: int) -> float:
    """Floating-point operations of generating one video of the evaluation set.

    Args:
        config: settings of an arm over a transformer of diffusers.
        shape: latent shape of the video.
        calls: number of forward passes per section.

    Raises:
        ValueError: the transformer's config is not on this machine.
    """
    model, way = model_of_arm(config), way_of_arm(config)
    planned = samples(config, model, shape, config.evaluation.given)
    return sum(_sampled(operations(model, sample.tokens, way), sample, calls) for sample in planned)


def _sampled(counted: Operations, sample: Sample, calls: int) -> int:
    """Operations of sampling a section, which is packed once for all forward passes."""
    return sample.packing + counted.remembering + calls * counted.forward


def samples(config: ExperimentConfig, model: RealModel, shape: LatentShape, given: int) -> Iterator[Sample]:
    """List every section of a video's plan, with the context available at that point.

    Args:
        config: settings of the arm, with recipe and context options.
        model: model whose projections count.
        shape: latent shape of the video.
        given: number of given latent frames.
    """
    recipe = config.parsed_recipe
    if config.context.attention == "block_causal":
        for window in Blocks.of(recipe).windows(shape.frames):
            yield Sample(Tokens(_tokens(len(window), BASE, shape)), 0)
        return
    for section in plan(recipe, shape.frames, given=frozenset(range(given)), fill=config.sampling.fill):
        levels = list(_levels(config, section, shape))
        packing = sum(tokens * _projection(config, model, kernel) for kernel, tokens in levels)
        context = sum(tokens for _, tokens in levels)
        yield Sample(Tokens(_tokens(len(section.targets), BASE, shape), context), packing)


def _levels(config: ExperimentConfig, section: Section, shape: LatentShape) -> Iterator[tuple[Kernel, int]]:
    """Kernel and number of tokens of every level and tail."""
    recipe, context = config.parsed_recipe, config.context
    assigned = assign(recipe, section, shape.frames, start_in_history=context.start_in_history)
    for slot in assigned.slots:
        yield slot.kernel, _tokens(packed_frames(slot, context.missing), slot.kernel, shape)
    kept = [side for side in (recipe.left, recipe.right) if side.tail in ("ta", "tc")]
    for side, tail in zip(kept, assigned.tails, strict=True):
        count = tail_tokens(side, tail.kernel, len(tail.frames), shape.rows, shape.columns)
        yield tail.kernel, count


def _tokens(frames: int, kernel: Kernel, shape: LatentShape) -> int:
    return kernel_tokens(frames, kernel, shape.rows, shape.columns)


def _projection(config: ExperimentConfig, model: RealModel, kernel: Kernel) -> int:
    """Operations of one token's projection."""
    convolved = K8 if kernel == K16 else kernel
    convolved = BASE if config.context.projection == "shared" else convolved
    settings = model.settings
    width = settings["num_attention_heads"] * settings["attention_head_dim"]
    return 2 * convolved.t * convolved.h * convolved.w * int(settings["out_channels"]) * int(width)


def way_of_arm(config: ExperimentConfig) -> Way:
    """Way of training of an arm's transformer."""
    settings = config.model
    return Way(settings.lora, settings.checkpointing, config.context.attention == "isolated")


def model_of_arm(config: ExperimentConfig) -> RealModel:
    """Model of an arm's transformer, by its stored config.

    Raises:
        ValueError: the config is not on this machine, or of another model.
    """
    source = config.model.base
    assert source is not None
    name, settings = stored_settings(source)
    family = next(family for family, known in CLASSES.items() if known == name)
    sees = settings.get("has_image_proj") or settings.get("image_dim") is not None
    return RealModel(
        name=name,
        title=name,
        family=family,
        settings=settings,
        recipe="g1",  # packers are counted apart, so arms of all recipes share what is counted here
        words=_WORDS[family],
        source="",
        image=_image_tokens(config, family) if sees else 0,
    )


def _image_tokens(config: ExperimentConfig, family: str) -> int:
    """Number of tokens of a first frame's embedding: patches, and for Wan one token of the whole picture."""
    source = config.model.images or config.model.conditions or config.model.base
    try:
        stored = stored_config(str(source), f"image_encoder/{CONFIG_FILE}")
    except ValueError:
        return _IMAGE[family]
    with building(str(source)):
        patches = (stored["image_size"] // stored["patch_size"]) ** 2
    return int(patches) + (family == "wan")


def video_strides(codec: CodecSource) -> Strides:
    """Strides of a video codec by its stored config; its weights are not loaded.

    Raises:
        ValueError: the config is not on this machine, or of another codec.
    """
    stored = stored_config(codec.source, f"vae/{CONFIG_FILE}", CONFIG_FILE)
    name = str(stored.get("_class_name"))
    if name not in AUTOENCODERS:
        raise ValueError(f"{codec.source} holds a {name}, expected one of {', '.join(AUTOENCODERS)}")
    with building(codec.source), torch.device("meta"):
        empty = VideoCodec(autoencoder_class(name).from_config(stored))
    return Strides(empty.spatial, empty.temporal)
