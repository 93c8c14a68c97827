"""The training loss by noise level: what a mean over all levels hides."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from fp_lab.flow.matching import velocity_loss

BINS = 4
"""Equal parts of the noise levels [0, 1]."""


@dataclass(frozen=True, eq=False)
class LossBins:
    """Losses of one batch by noise level; both parts add up over batches and ranks.

    Attributes:
        sums: of the losses in each bin, ``n`` of `BINS`.
        counts: how many losses each bin holds; 0 where a batch has none.
    """

    sums: Float[Tensor, "n"]
    counts: Float[Tensor, "n"]


def bin_losses(
    losses: Float[Tensor, "m"], sigmas: Float[Tensor, "m"], counted: Tensor | None = None
) -> LossBins:
    """Sort losses into `BINS` equal bins of their noise level; a level of 1 belongs to the last.

    Nothing leaves the device: there is no synchronisation.

    Args:
        losses: one per item.
        sigmas: their noise levels in [0, 1].
        counted: bool ``m``, which items count; None: all.
    """
    bins = (sigmas.detach() * BINS).long().clamp(0, BINS - 1)
    member = bins[:, None] == torch.arange(BINS, device=bins.device)
    if counted is not None:
        member = member & counted[:, None]
    sums = torch.where(member, losses.detach().float()[:, None], 0.0).sum(0)
    return LossBins(sums, member.float().sum(0))


@torch.no_grad()
def bin_frame_losses(velocity: Tensor, target: Tensor, levels: Tensor) -> LossBins:
    """`bin_losses` of single frames, for windows ``b c t h w`` whose frames have levels ``b t`` of their own.

    Frames without noise (level 0) are given, not asked for: they do not count.
    """
    flat = levels.flatten()
    return bin_losses(velocity_loss(_single(velocity), _single(target)), flat, flat > 0)


def _single(windows: Tensor) -> Tensor:
    frames: Tensor = rearrange(windows, "b c t h w -> (b t) c 1 h w")
    return frames
