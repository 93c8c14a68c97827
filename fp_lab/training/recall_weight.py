"""Weights of the loss for what comes back: cells that the history shows, and its nearest frame does not."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fp_lab.packing.assemble import Arrangement, take


def recall_weights(latents: Tensor, arrangements: Sequence[Arrangement], weight: float) -> Tensor:
    """Weights of the cells of each section, from 1 up to 1 + `weight`.

    ``1 + weight * clamp((d_near - d_best) / variance, 0, 1)``, with squared distances of a cell from the same
    cell of the packed frame nearest in time, and of the packed frame most like it, and the variance of the
    video's latents. Cells that need memory are few: without a weight a model learns to read what is near long
    before what is far away.

    Args:
        latents: videos ``b c t h w``, clean.
        arrangements: one per video.
        weight: added where the history tells all and its nearest frame nothing.

    Returns:
        Weights ``b t h w`` of the sections' cells.
    """
    targets = torch.tensor([a.targets for a in arrangements], device=latents.device)
    packed = [sorted(a.packed) for a in arrangements]
    cells = take(latents, targets)
    nearest = [
        [min(frames, key=lambda known: abs(known - target), default=target) for target in a.targets]
        for a, frames in zip(arrangements, packed, strict=True)
    ]
    near = _distance(cells, take(latents, torch.tensor(nearest, device=latents.device)))
    best = near
    for place in range(max(map(len, packed))):  # one at a time: all at once would be frames times as large
        frames = [known[place] if place < len(known) else -1 for known in packed]
        there = torch.tensor(frames, device=latents.device)[:, None].expand_as(targets)
        distance = _distance(cells, take(latents, there.clamp_min(0)))
        best = torch.where((there >= 0)[..., None, None], best.minimum(distance), best)
    variance = latents.var((2, 3, 4)).sum(1).clamp_min(torch.finfo(latents.dtype).eps)
    return 1 + weight * ((near - best) / variance[:, None, None, None]).clamp(0, 1)


def _distance(cells: Tensor, others: Tensor) -> Tensor:
    return (cells - others).square().sum(1)
