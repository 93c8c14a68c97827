"""Models that a config names: codec, transformer with its packer, training logic around it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fp_lab.causal import Blocks
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.codecs.video import load_codec
from fp_lab.lab.config import CodecSource, ExperimentConfig
from fp_lab.lab.model_families.choose import family_of
from fp_lab.lab.runtime.device import device_of
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.codebook import Codebook
from fp_lab.training.sections import sections_of

if TYPE_CHECKING:
    from fp_lab.training.framepack_system import FramePackSystem


def codec_of(wanted: CodecSource) -> LatentCodec:
    """Load the codec that a config names, on the CPU."""
    return load_codec(wanted.source, getattr(torch, wanted.dtype), wanted.tiling, wanted.slicing)


def encoder(codec: LatentCodec, config: ExperimentConfig) -> Callable[[Tensor], Tensor]:
    """Return a function from pixels ``b c t h w`` to latents, both on the CPU."""
    device = device_of(config)

    @torch.no_grad()
    def encode(pixels: Tensor) -> Tensor:
        return codec.encode(pixels.to(device)).cpu()

    return encode


def build_model(config: ExperimentConfig, channels: int, codebook: Codebook | None = None) -> FramePackModel:
    """Build the model that training starts from: a fresh copy of the base with the recipe's projections.

    Args:
        config: settings of the arm, with recipe, base and context.
        channels: number of channels of the codec's latents.
        codebook: codebook of a discrete history.

    Raises:
        ValueError: the base is for other latents.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = family_of(config).starting_model(channels, codebook)
    if model.backbone.channels != channels:
        raise ValueError(
            f"model.base {config.model.base} takes latents of {model.backbone.channels} channels, "
            f"but the codec {config.codec.source} makes {channels}; choose a base trained on this codec"
        )
    return model


def build_system(
    config: ExperimentConfig, model: FramePackModel, kind: "type[FramePackSystem] | None" = None
) -> "FramePackSystem":
    """Build the training logic around a model; sections are drawn from the plan that the sampler follows."""
    from fp_lab.training.framepack_system import FramePackSystem  # slow to import

    return (kind or FramePackSystem)(
        model,
        planned_sections(config),
        config.objective,
        config.optimizer,
        steps=config.training.steps,
        seed=config.seed,
    )


def planned_sections(config: ExperimentConfig) -> PlannedSections | Blocks:
    """Plan that training draws sections from."""
    return sections_of(config.parsed_recipe, config.context, config.sampling.fill, config.objective.given)


def load_trained(folder: Path, config: ExperimentConfig) -> FramePackModel:
    """Load a trained model; frozen weights of a transformer of diffusers in the data type of the config."""
    return FramePackModel.load(folder, torch_dtype=getattr(torch, config.model.dtype))
