"""Velocity of a section that is denoised, guided by its captions and its history."""

from typing import Any

import torch
from torch import Tensor

from fp_lab.flow.matching import to_velocity
from fp_lab.flow.solvers import Velocity
from fp_lab.model import FramePackModel
from fp_lab.sampling.section_context import Attended


def guided_velocity(
    model: FramePackModel,
    attended: Attended,
    *,
    guidance: float = 1.0,
    rescale: float = 0.0,
    history_guidance: float = 1.0,
) -> Velocity:
    """Velocity of a section under its captions and its history.

    Args:
        model: in evaluation mode.
        attended: what the section attends to.
        guidance: see `guide`; 1 needs no negative prompt.
        rescale: see `guide`.
        history_guidance: w of v = (1-w) v(X | no history) + w v(X | history).
    """

    def predict(x: Tensor, sigma: float, section: Any) -> Tensor:
        levels = torch.full((len(x),), sigma, device=x.device, dtype=x.dtype)
        predicted = model.denoise(x, levels, section)
        require_shape(f"backbone {type(model.backbone).__name__}", predicted, x.shape)
        return to_velocity(predicted, x, levels, model.output)

    def velocity(x: Tensor, sigma: float) -> Tensor:
        # the negative prompt has the same history: guidance is towards the caption alone
        prompted, *unprompted = [predict(x, sigma, section) for section in attended.under(sigma)]
        w = history_guidance
        if w != 1:
            # before the guidance by text, which then extrapolates from what the history has already guided
            prompted = w * prompted + (1 - w) * predict(x, sigma, attended.without())
        if not unprompted:
            return prompted
        return guide(prompted, unprompted[0], guidance, rescale)

    return velocity


def require_shape(what: str, made: object, wanted: torch.Size) -> None:
    """Refuse what a plugin made of another shape, which would be broadcast in silence."""
    if not isinstance(made, Tensor) or made.shape != wanted:
        told = tuple(made.shape) if isinstance(made, Tensor) else repr(made)
        raise ValueError(f"{what}: got {told}, expected latents {tuple(wanted)}")


def guide(prompted: Tensor, unprompted: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance v_n + s (v_p - v_n), optionally rescaled towards the spread of v_p."""
    guided = unprompted + scale * (prompted - unprompted)
    if not rescale:
        return guided
    # over all but the batch: every video has its own spread
    dims = tuple(range(1, guided.ndim))
    matched = guided * (prompted.std(dims, keepdim=True) / guided.std(dims, keepdim=True))
    return rescale * matched + (1 - rescale) * guided
