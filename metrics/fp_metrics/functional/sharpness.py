"""Sharpness and noise formulas. Grey images are float32 ``(n, h, w)`` in [0, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

SOBEL_NOISE_GAIN = 0.375
"""Expected squared Sobel gradient (kernels over 8) of white noise of variance 1: ``2 * 12 / 64``."""

NORMAL_MEDIAN = 0.6745
"""Median of ``|x|`` for a standard normal x."""


def sobel(grey: Tensor) -> Tensor:
    """Gradient ``(n, 2, h, w)`` (x, then y) of ``(n, h, w)``, per pixel, borders replicated.

    Sobel kernels divided by 8, so that a ramp of slope s has gradient s.
    Source: https://docs.opencv.org/4.x/d2/d2c/tutorial_sobel_derivatives.html.
    """
    ramp = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
    kernels = torch.stack((ramp, ramp.T))[:, None]
    return F.conv2d(F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate"), kernels)


def tenengrad(grey: Tensor) -> Tensor:
    """Mean squared Sobel gradient of ``(n, h, w)``: ``(n,)`` in [0, 0.5]; falls with blur, rises with noise.

    Source: Tenenbaum 1970; compared in Pertuz et al., "Analysis of focus measure operators", Pattern
    Recognition 46 (2013), GRA6.
    """
    return sobel(grey).square().sum(1).flatten(1).mean(1)


def haar_noise(grey: Tensor) -> Tensor:
    """Robust estimate of the standard deviation of white noise in ``(n, h, w)``: ``(n,)``, at least 0.

    ``median(|d|) / 0.6745`` with d the diagonal detail of one Haar level, ``(a - b - c + d) / 2`` per 2x2
    block.

    Source: Donoho & Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994), section
        4.2.
    """
    height, width = grey.shape[1] // 2 * 2, grey.shape[2] // 2 * 2
    even, odd = grey[:, 0:height:2, :width], grey[:, 1:height:2, :width]
    diagonal = (even[..., 0::2] - even[..., 1::2] - odd[..., 0::2] + odd[..., 1::2]) / 2
    return diagonal.flatten(1).abs().median(1).values / NORMAL_MEDIAN


def denoised_sharpness(grey: Tensor, *, gradient: float = 0.05, noise: float = 0.05) -> Tensor:
    """Sharpness that noise cannot raise, of ``(n, h, w)``: ``(n,)`` in [0, 1).

    ``g / (g + gradient) * noise / (noise + s)`` with s the `haar_noise` and
    ``g = sqrt(max(0, tenengrad - 0.375 s^2))``: what white noise of that size adds to the gradient is taken
    out, and its presence is penalised.

    Args:
        grey: luma in [0, 1].
        gradient: RMS gradient per pixel at which the first factor is a half.
        noise: standard deviation at which the second factor is a half.
    """
    sigma = haar_noise(grey)
    edges = (tenengrad(grey) - SOBEL_NOISE_GAIN * sigma.square()).clamp(min=0).sqrt()
    return edges / (edges + gradient) * noise / (noise + sigma)
