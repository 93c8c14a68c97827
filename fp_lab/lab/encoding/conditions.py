"""Conditions of arms over transformers of diffusers: encoders of captions and of first frames."""

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
"""First frames ``b c h w`` in [-1, 1] to embeddings ``b i e``."""


def uses_diffusers_backbone(config: ExperimentConfig) -> bool:
    """Whether an arm starts from a transformer in diffusers' format."""
    return config.model.base is not None and not is_own("base", config.model.base)


def attach_text_embeddings(
    model: FramePackModel, config: ExperimentConfig, captions: Iterable[str], *, guided: bool = True
) -> FramePackModel:
    """The model with what captions become, if that is not its own to learn.

    Args:
        model: of the arm.
        config: of the arm.
        captions: that will be asked for; they are encoded now, so that encoders are loaded once. Others are
            encoded when they come.
        guided: whether the negative prompt will be asked for too; training does not.
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
    """Embeddings of captions as an arm is told them."""
    return EncodedTexts(encoders_of(config), getattr(torch, encoder_dtype(config)))


def encoders_of(config: ExperimentConfig) -> EncoderFiles:
    """Where an arm's encoders are.

    Raises:
        ValueError: they are not there.
    """
    settings = config.model
    source = settings.conditions or settings.base
    assert source is not None
    return find_encoders(source, settings.images)


def encoder_dtype(config: ExperimentConfig) -> str:
    """Type of the encoders' weights and of what they make."""
    return config.model.encoder_dtype or config.model.dtype


def encoder_identity(config: ExperimentConfig) -> dict[str, str | None]:
    """What everything depends on that a model is told: captions' and first frames' encoders."""
    found = encoders_of(config)
    return {
        "texts": weights_identity(found.text_files(), found.text_folder),
        "images": image_identity(config),
    }


def image_identity(config: ExperimentConfig) -> str | None:
    """What embeddings of first frames depend on; None for arms that are told none."""
    found = _image_encoder(config)
    return None if found is None else weights_identity(found.image_files(), found.image_folder)


@contextmanager
def embedder(config: ExperimentConfig) -> Iterator[Embed | None]:
    """What embeds first frames, for as long as it is needed; None for arms that are told none."""
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
