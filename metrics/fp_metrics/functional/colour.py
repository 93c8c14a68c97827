"""Colour formulas. Frames are float32 ``(n, 3, h, w)`` RGB in [0, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
HISTOGRAM_BINS = 5
"""Bins per channel of `colour_histogram`: 125 colours."""


def luma(frames: Tensor) -> Tensor:
    """Luma ``0.299 R + 0.587 G + 0.114 B`` of ``(n, 3, h, w)``: ``(n, h, w)`` in [0, 1].

    Source: ITU-R BT.601, https://www.itu.int/rec/R-REC-BT.601.
    """
    red, green, blue = frames.unbind(1)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def colourfulness(frames: Tensor) -> Tensor:
    """Colourfulness of ``(n, 3, h, w)``: ``(n,)``, 0 for grey, about 0.43 for "extremely colourful".

    ``M = sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2)`` with ``rg = R - G``, ``yb = (R + G) / 2 - B``, s
    standard deviations and m means over pixels. The paper gives M for 8-bit values: this one is 1/255 of it.

    Source: Hasler & Suesstrunk, "Measuring colourfulness in natural images", 2003, equation for M^(3),
    https://infoscience.epfl.ch/record/33994.
    """
    red, green, blue = frames.flatten(2).unbind(1)
    rg, yb = red - green, 0.5 * (red + green) - blue
    spread = (rg.var(1, correction=0) + yb.var(1, correction=0)).sqrt()
    return spread + 0.3 * (rg.mean(1).square() + yb.mean(1).square()).sqrt()


def colour_histogram(frames: Tensor, weights: Tensor | None = None, bins: int = HISTOGRAM_BINS) -> Tensor:
    """Joint colour histogram of ``(n, 3, h, w)``: ``(n, bins**3)``, each summing to 1, red the slowest index.

    A pixel is shared between the 8 neighbouring bin centres (trilinear, centres at 0, 1/(bins-1), ..., 1), so
    that a colour at a bin's border does not jump. All zero where the weights sum to 0.

    Args:
        frames: RGB in [0, 1].
        weights: ``(n, h, w)``, how much each pixel counts; None: all the same.
        bins: per channel.
    """
    centres = torch.arange(bins, dtype=frames.dtype, device=frames.device)
    scaled = frames.clamp(0, 1).flatten(2) * (bins - 1)  # n 3 p
    red, green, blue = (
        (1 - (scaled[:, :, None] - centres[:, None]).abs()).clamp(min=0).unbind(1)
    )  # each n bins p
    if weights is not None:
        red = red * weights.flatten(1).to(red.dtype)[:, None]
    green_blue = (green[:, :, None] * blue[:, None]).flatten(1, 2)
    return F.normalize(torch.bmm(red, green_blue.mT).flatten(1), p=1, dim=1)


def bhattacharyya(first: Tensor, second: Tensor) -> Tensor:
    """Bhattacharyya coefficient ``sum_i sqrt(p_i q_i)`` of histograms ``(n, k)``: ``(n,)`` in [0, 1].

    1 for the same histogram, 0 for disjoint ones. Source: Bhattacharyya, Bull. Calcutta Math. Soc. 35 (1943).
    """
    return (first * second).sqrt().sum(1).clamp(max=1)


def rms_contrast(frames: Tensor) -> Tensor:
    """RMS contrast of ``(n, 3, h, w)``: standard deviation of luma, ``(n,)`` in [0, 0.5].

    Source: Peli, "Contrast in complex images", JOSA A 7 (1990), equation 4.
    """
    return luma(frames).flatten(1).std(1, correction=0)


def colourful_contrast(frames: Tensor) -> Tensor:
    """A hand-made measure of how rich a picture looks, of ``(n, 3, h, w)``: ``(n,)`` in [0, 1].

    Mean of `colourfulness` over 109/255 (the paper's "extremely colourful") and `rms_contrast` over 0.5, each
    at most 1. It is not a learned aesthetic score and says so in the name of every estimator that uses it.
    """
    return 0.5 * (colourfulness(frames) * 255 / 109).clamp(max=1) + rms_contrast(frames).clamp(max=0.5)
