"""Rotary phases as complex numbers, for transformers that pair neighbouring channels of a head."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_lab.shapes import Phases


def joint_phasors(parts: Sequence[Phases], still: int = 0) -> Tensor:
    """Phasors cos + i sin ``b n heads|1 k`` of parts in a row, and 1 for so many tokens of text behind."""
    cos, sin = (torch.cat(each, 1) for each in zip(*((part.cos, part.sin) for part in parts), strict=True))
    if cos.ndim == 3:
        cos, sin = cos[:, :, None], sin[:, :, None]
    behind = (0, 0, 0, 0, 0, still)
    return torch.complex(F.pad(cos, behind, value=1.0), F.pad(sin, behind))


def rotate_pairs(x: Tensor, phasors: Tensor) -> Tensor:
    """Rotate heads ``b n heads (k 2)`` by ``b n heads|1 k``: neighbouring channels are a pair.

    `fp_lab.packing.rope.rotate` pairs the two halves of a head instead.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phasors).flatten(-2).to(x.dtype)
