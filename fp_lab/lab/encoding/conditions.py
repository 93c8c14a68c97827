"""Text and image conditions of arms whose captions are embedded by encoders."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fp_lab.conditions.encoder_files import EncoderFiles
from fp_lab.conditions.encoders import load_encoders
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.encoding.text_embeddings import EncodedTexts
from fp_lab.lab.files.weights import weights_identity
from fp_lab.lab.model_families.choose import family_of
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.runtime.quiet import quiet_loading
from fp_lab.model import FramePackModel
from fp_lab.shapes import Caption

Embed = Callable[[Tensor], Tensor]
"""Function from first frames ``b c h w`` in [-1, 1] to embeddings ``b i e``."""


def attach_text_embeddings(
    model: FramePackModel, config: ExperimentConfig, captions: Iterable[str], *, guided: bool = True
) -> FramePackModel:
    """Attach caption embeddings to a model whose captions are embedded by encoders; return others unchanged.

    Args:
        model: model of the arm.
        config: settings of the arm.
        captions: captions to encode now, so that encoders are loaded once. Others are encoded when needed.
        guided: whether the negative prompt is needed too, as in sampling with guidance.
    """
    if encoders_of(config) is None:
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
    """Caption embeddings of an arm that has encoders, on disk."""
    files = encoders_of(config)
    assert files is not None
    return EncodedTexts(files, getattr(torch, encoder_dtype(config)))


def encoders_of(config: ExperimentConfig) -> EncoderFiles | None:
    """Find the encoder files of an arm; None where the backbone embeds captions itself.

    Raises:
        ValueError: the encoders are missing.
    """
    return family_of(config).encoders()


def encoder_dtype(config: ExperimentConfig) -> str:
    """Data type of the encoders' weights and embeddings."""
    return config.model.encoder_dtype or config.model.dtype


def encoder_identity(config: ExperimentConfig) -> dict[str, str | None]:
    """Identity of the text and image encoders, which all conditions depend on; empty without encoders."""
    files = encoders_of(config)
    if files is None:
        return {}
    return {
        "texts": weights_identity(files.text_files(), files.text_folder),
        "images": image_identity(config),
    }


def image_identity(config: ExperimentConfig) -> str | None:
    """Identity of the image encoder; None for arms without image condition."""
    files = _image_encoder(config)
    return None if files is None else weights_identity(files.image_files(), files.image_folder)


@contextmanager
def embedder(config: ExperimentConfig) -> Iterator[Embed | None]:
    """Yield a function that embeds first frames; None for arms without image condition."""
    files = _image_encoder(config)
    if files is None:
        yield None
        return
    device, dtype = device_of(config), getattr(torch, encoder_dtype(config))
    with quiet_loading(), load_encoders(files, dtype, device, only="images") as encoders:
        yield lambda frames: encoders.images(frames.to(device)).float().cpu()


def _image_encoder(config: ExperimentConfig) -> EncoderFiles | None:
    files = encoders_of(config)
    return files if files is not None and files.has_images else None
