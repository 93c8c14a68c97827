"""Rotary phases as complex numbers, for transformers that pair neighbouring channels of a head."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_lab.shapes import Phases


def joint_phasors(parts: Sequence[Phases], still: int = 0) -> Tensor:
    """Phasors cos + i sin ``b n 1 k`` of parts in a row, and 1 for so many tokens of text behind them."""
    cos = F.pad(torch.cat([part.cos for part in parts], 1), (0, 0, 0, still), value=1.0)
    sin = F.pad(torch.cat([part.sin for part in parts], 1), (0, 0, 0, still))
    return torch.complex(cos, sin)[:, :, None]


def rotate_pairs(x: Tensor, phasors: Tensor) -> Tensor:
    """Rotate heads ``b n heads (k 2)`` by ``b n 1 k``: neighbouring channels are a pair.

    `fp_lab.packing.rope.rotate` pairs the two halves of a head instead.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * phasors).flatten(-2).to(x.dtype)
