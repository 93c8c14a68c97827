"""Weights of the loss for what memory alone can tell: cells that the nearest frame of the history hides."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fp_lab.packing.assemble import Arrangement


def recall_weights(hidden: Tensor, arrangements: Sequence[Arrangement], weight: float) -> Tensor:
    """Weights of the cells of each section: 1, and 1 + `weight` where more than the nearest frame is needed.

    That is where a cell was hidden in the packed frame nearest in time, and shown in another one. Such cells
    are few: without a weight a model learns to read what is near long before what is far away. Whether the
    section itself shows them has no part in it: else the model would learn that what is hidden comes back
    more often than it does.

    Args:
        hidden: cells of the latents that something covers, bool ``b f h w``, for all frames of the videos.
        arrangements: one per video.
        weight: added to 1.

    Returns:
        Weights ``b t h w`` of the sections' cells, float32.
    """
    rows = [
        _weights(~of_video, arrangement) for of_video, arrangement in zip(hidden, arrangements, strict=True)
    ]
    return 1 + weight * torch.stack(rows).float()


def _weights(shown: Tensor, arrangement: Arrangement) -> Tensor:
    """Cells ``t h w`` of a section that only memory can tell, where they are shown."""
    packed = sorted(arrangement.packed)
    if not packed:
        return torch.zeros_like(shown[list(arrangement.targets)])
    nearest = [min(packed, key=lambda known: abs(known - target)) for target in arrangement.targets]
    return ~shown[nearest] & shown[packed].any(0)
