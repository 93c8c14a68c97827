"""How alike frames are, as the importance that frames are packed by (FramePack paper, section 3.1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_lab.packing.context import ImportanceConfig
from fp_lab.recipe.orders import Section


def cosine_similarity(frames: Tensor, reference: Tensor) -> Tensor:
    """Mean over pixels of the cosine between latent pixels, ``b t`` in [-1, 1].

    The paper sums over pixels; the mean keeps the weight of time free of resolution.

    Args:
        frames: ``b c t h w``.
        reference: ``b c h w``; pixels that are zero are like nothing (0).
    """
    return F.cosine_similarity(frames, reference[:, :, None], dim=1).mean((-2, -1))


def time_similarity(times: Tensor, reference: Tensor) -> Tensor:
    """exp(-(t_i - t_X)^2) of times in seconds."""
    return torch.exp(-(times - reference).square())


@torch.no_grad()
def importance_of(
    latents: Tensor, sections: Sequence[Section], config: ImportanceConfig
) -> list[list[float]]:
    """Importance of every frame for the section of each video.

    The estimate X of a section is the known frame nearest to it (of two, the earlier one); without any
    known frame nothing is important.

    Args:
        latents: ``b c t h w``; frames that are not known may hold anything.
        sections: one per video.
        config: kind, and the weight of time.

    Returns:
        One value per frame and video; of unknown frames it means nothing.
    """
    frames = latents.shape[2]
    nearest = torch.tensor([_nearest_known(section) for section in sections], device=latents.device)
    item = torch.arange(len(latents), device=latents.device)
    values = cosine_similarity(latents, latents[item, :, nearest])
    if config.kind == "hybrid":
        seconds = torch.arange(frames, device=latents.device)[None] / config.frames_per_second
        values = values + config.time_weight * time_similarity(seconds, seconds[0, nearest][:, None])
    rows: list[list[float]] = values.tolist()
    return rows


def _nearest_known(section: Section) -> int:
    first, last = min(section.targets), max(section.targets)
    # without a known frame any reference will do: no value is looked at
    return min(section.known, key=lambda f: (max(first - f, f - last), f), default=0)
