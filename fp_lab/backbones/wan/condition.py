"""Conditions of Wan: the caption, and the given frame."""

from dataclasses import dataclass

from torch import Tensor

from fp_lab.shapes import TextCondition


@dataclass(frozen=True)
class WanCondition(TextCondition):
    """Captions encoded by UMT5, and the given frame for a transformer that reads one.

    diffusers' pipelines pad captions with zeros to 512 tokens and hide none of them; released weights know it
    so. With a mask captions may have any length.

    Attributes:
        image: tokens of the given frame (CLIP) ``b i e``, or of the first frame and then the last for a
            transformer with `pos_embed_seq_len`; None for a transformer without `image_dim`.
    """

    image: Tensor | None = None
