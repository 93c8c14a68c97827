"""Agreement with a reference frame."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure


def psnr(frames: Tensor, reference: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of ``(n, 3, h, w)`` in [0, 1]: ``(n,)`` dB, at most 100.

    ``-10 log10(MSE)``; equal frames (an infinite ratio) and anything above read 100.
    """
    error = (frames - reference).square().flatten(1).mean(1)
    return (-10 * torch.log10(error.clamp(min=1e-10))).clamp(max=100)


def ssim(frames: Tensor, reference: Tensor) -> Tensor:
    """Structural similarity of ``(n, 3, h, w)`` in [0, 1]: ``(n,)`` in [-1, 1], Gaussian window, sigma 1.5.

    Raises:
        ValueError: for frames smaller than the 11x11 window.

    Source:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP
        2004.
    """
    if min(frames.shape[-2:]) < 11:
        raise ValueError(f"SSIM needs frames of at least 11x11, got {tuple(frames.shape[-2:])}")
    value = structural_similarity_index_measure(frames, reference, data_range=1.0, reduction="none")
    assert isinstance(value, Tensor)
    return value.reshape(-1)


def energy_agreement(measured: Tensor, expected: Tensor) -> Tensor:
    """``sqrt(min / max)`` of two gradient energies, ``(n,)`` each: in [0, 1]; 1 where both are 0.

    Blur makes it fall as energy is missing, noise as there is too much.
    """
    low, high = torch.minimum(measured, expected), torch.maximum(measured, expected)
    return torch.where(high > 0, low / high.clamp(min=1e-12), torch.ones_like(high)).sqrt()
