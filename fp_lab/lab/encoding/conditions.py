"""Text and image conditions of arms over transformers of diffusers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fp_lab.conditions.encoder_files import EncoderFiles, find_encoders
from fp_lab.conditions.encoders import load_encoders
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.text_embeddings import EncodedTexts
from fp_lab.lab.files.weights import is_own, weights_identity
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.quiet import quiet_loading
from fp_lab.model import FramePackModel
from fp_lab.shapes import Caption

Embed = Callable[[Tensor], Tensor]
"""Function from first frames ``b c h w`` in [-1, 1] to embeddings ``b i e``."""


def uses_diffusers_backbone(config: ExperimentConfig) -> bool:
    """Return whether an arm starts from a transformer in diffusers' format."""
    return config.model.base is not None and not is_own("base", config.model.base)


def attach_text_embeddings(
    model: FramePackModel, config: ExperimentConfig, captions: Iterable[str], *, guided: bool = True
) -> FramePackModel:
    """Attach caption embeddings to an arm over a transformer of diffusers; return other models unchanged.

    Args:
        model: model of the arm.
        config: settings of the arm.
        captions: captions to encode now, so that encoders are loaded once. Others are encoded when needed.
        guided: whether the negative prompt is needed too, as in sampling with guidance.
    """
    if not uses_diffusers_backbone(config):
        return model
    texts = texts_of(config)
    negative = [config.sampling.negative_prompt] if guided else []
    with quiet_loading():
        texts.encode(["", *negative, *captions])

    def on_device(captions: Sequence[Caption]) -> Any:
        texts.device = next(model.parameters()).device
        return texts(captions)

    model.backbone.texts = on_device
    return model


def texts_of(config: ExperimentConfig) -> EncodedTexts:
    """Caption embeddings of an arm, on disk."""
    return EncodedTexts(encoders_of(config), getattr(torch, encoder_dtype(config)))


def encoders_of(config: ExperimentConfig) -> EncoderFiles:
    """Find the encoder files of an arm.

    Raises:
        ValueError: the encoders are missing.
    """
    settings = config.model
    source = settings.conditions or settings.base
    assert source is not None
    return find_encoders(source, settings.images)


def encoder_dtype(config: ExperimentConfig) -> str:
    """Data type of the encoders' weights and embeddings."""
    return config.model.encoder_dtype or config.model.dtype


def encoder_identity(config: ExperimentConfig) -> dict[str, str | None]:
    """Identity of the text and image encoders, which all conditions depend on."""
    found = encoders_of(config)
    return {
        "texts": weights_identity(found.text_files(), found.text_folder),
        "images": image_identity(config),
    }


def image_identity(config: ExperimentConfig) -> str | None:
    """Identity of the image encoder; None for arms without image condition."""
    found = _image_encoder(config)
    return None if found is None else weights_identity(found.image_files(), found.image_folder)


@contextmanager
def embedder(config: ExperimentConfig) -> Iterator[Embed | None]:
    """Yield a function that embeds first frames; None for arms without image condition."""
    found = _image_encoder(config)
    if found is None:
        yield None
        return
    device, dtype = device_of(config), getattr(torch, encoder_dtype(config))
    with quiet_loading(), load_encoders(found, dtype, device, only="images") as encoders:
        yield lambda frames: encoders.images(frames.to(device)).float().cpu()


def _image_encoder(config: ExperimentConfig) -> EncoderFiles | None:
    found = encoders_of(config) if uses_diffusers_backbone(config) else None
    return found if found is not None and found.has_images else None
