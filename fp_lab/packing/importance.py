"""How alike frames are, as the importance that frames are packed by (FramePack paper, section 3.1)."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_lab.packing.context import IMPORTANCES, ImportanceConfig
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
    """Importance of every frame for the section of each video, by the kind that the config names.

    Args:
        latents: ``b c t h w``; frames that are not known may hold anything.
        sections: one per video.
        config: kind, and the weight of time.

    Returns:
        One value per frame and video; of unknown frames it means nothing.
    """
    values: Tensor = IMPORTANCES[config.kind](latents, sections, config)
    if values.shape != (len(latents), latents.shape[2]):
        raise ValueError(
            f"importance {config.kind!r}: got values of shape {tuple(values.shape)}, expected one per "
            f"video and frame, {(len(latents), latents.shape[2])}"
        )
    rows: list[list[float]] = values.tolist()
    for row, section in zip(rows, sections, strict=True):
        if wrong := [frame for frame in section.known if not math.isfinite(row[frame])]:
            raise ValueError(
                f"importance {config.kind!r}: got {row[wrong[0]]} for known frame {wrong[0]}, expected a "
                "finite value"
            )
    return rows


Importance = Callable[[Tensor, Sequence[Section], ImportanceConfig], Tensor]
"""(latents ``b c t h w``, one section per video, options) -> importance ``b t``, of unknown frames too."""


@IMPORTANCES.register("similarity")
def by_similarity(latents: Tensor, sections: Sequence[Section], config: ImportanceConfig) -> Tensor:
    """Similarity ``b t`` of every frame with the estimate X of a section.

    X is the known frame nearest to the section (of two, the earlier one); without any known frame nothing is
    important.
    """
    item = torch.arange(len(latents), device=latents.device)
    return cosine_similarity(latents, latents[item, :, _nearest(latents, sections)])


@IMPORTANCES.register("hybrid")
def hybrid(latents: Tensor, sections: Sequence[Section], config: ImportanceConfig) -> Tensor:
    """Similarity plus the weighted nearness in time, ``b t``."""
    seconds = torch.arange(latents.shape[2], device=latents.device)[None] / config.frames_per_second
    nearness = time_similarity(seconds, seconds[0, _nearest(latents, sections)][:, None])
    return by_similarity(latents, sections, config) + config.time_weight * nearness


def _nearest(latents: Tensor, sections: Sequence[Section]) -> Tensor:
    return torch.tensor([_nearest_known(section) for section in sections], device=latents.device)


def _nearest_known(section: Section) -> int:
    first, last = min(section.targets), max(section.targets)
    # without a known frame any reference will do: no value is looked at
    return min(section.known, key=lambda f: (max(first - f, f - last), f), default=0)
