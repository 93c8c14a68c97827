"""Encoded captions of a batch as the condition of a model."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.conditions.encoder_files import Family
from fp_lab.shapes import EncodedText, TextCondition


def collate(
    family: Family, texts: Sequence[EncodedText], images: Tensor | None = None, longest: int = 512
) -> TextCondition:
    """What the models of a family are told of a batch: `hunyuan_condition` or `wan_condition`."""
    if family == "hunyuan_video":
        return hunyuan_condition(texts, images)
    return wan_condition(texts, images, longest)


def hunyuan_condition(
    texts: Sequence[EncodedText], images: Tensor | None = None, guidance: float | None = None
) -> HunyuanCondition:
    """Join captions: padded to the longest, and masked if any is shorter.

    Args:
        texts: one per item.
        images: embeddings of the first frames, ``b i e``, for a model that takes them.
        guidance: scale of the distilled guidance; None for a model without it.

    Raises:
        ValueError: no text, a caption without its pooled embedding, or another number of images.
    """
    _require_as_many(texts, images)
    pooled = [text.pooled for text in texts if text.pooled is not None]
    if len(pooled) < len(texts):
        raise ValueError(
            f"got {len(texts)} captions and {len(pooled)} pooled embeddings, expected captions that the "
            "encoders of hunyuan_video have made"
        )
    words = pad_sequence([text.words for text in texts], batch_first=True)
    lengths = torch.tensor([len(text.words) for text in texts], device=words.device)
    mask = torch.arange(words.shape[1], device=words.device) < lengths[:, None]
    scales = None if guidance is None else torch.full((len(texts),), 1000.0 * guidance, device=words.device)
    return HunyuanCondition(
        words,
        None if bool(mask.all()) else mask,
        pooled=torch.stack(pooled),
        image=images,
        guidance=scales,
    )


def wan_condition(
    texts: Sequence[EncodedText], images: Tensor | None = None, longest: int = 512
) -> WanCondition:
    """Join captions: padded with zeros to the length that the model was trained with, and not masked.

    Wan attends to its padding, as `WanPipeline` lets it.

    Args:
        texts: one per item.
        images: embeddings of the first frames, ``b i e``, for a model that takes them.
        longest: tokens of every caption after padding.

    Raises:
        ValueError: no text, another number of images, or a caption of more tokens.
    """
    _require_as_many(texts, images)
    if (most := max(len(text.words) for text in texts)) > longest:
        raise ValueError(
            f"got a caption of {most} tokens, expected at most {longest}; encode it with that longest"
        )
    words = [F.pad(text.words, (0, 0, 0, longest - len(text.words))) for text in texts]
    return WanCondition(torch.stack(words), image=images)


def _require_as_many(texts: Sequence[EncodedText], images: Tensor | None) -> None:
    if not texts or (images is not None and len(images) != len(texts)):
        shown = "no" if images is None else len(images)
        raise ValueError(f"got {len(texts)} captions and {shown} images, expected at least one, and as many")
