"""Hand-made image features and their similarity."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def shrink(frames: Tensor, side: int) -> Tensor:
    """Area-average ``(n, c, h, w)`` so that its shorter side has at most `side` pixels; smaller ones stay."""
    height, width = frames.shape[-2:]
    scale = side / min(height, width)
    if scale >= 1:
        return frames
    return F.interpolate(frames, size=(round(height * scale), round(width * scale)), mode="area")


def hog(grey: Tensor, cells: int = 4, orientations: int = 9) -> Tensor:
    """Histogram of oriented gradients of ``(n, h, w)``: ``(n, cells**2 * orientations)`` of L2 norm 1 or 0.

    Central differences (0 at the border), unsigned orientation in `orientations` bins, mean magnitude per
    cell of ``h // cells`` by ``w // cells`` pixels, all cells divided by ``sqrt(|v|^2 + 1e-10)``. Normalised
    once over the picture, because a norm per cell would let the noise of flat cells count as much as
    outlines. Equals `skimage.feature.hog` with one block of all cells and ``block_norm="L2"``.

    Source: Dalal & Triggs, "Histograms of oriented gradients for human detection", CVPR 2005.
    """
    count, height, width = grey.shape
    cell_h, cell_w = height // cells, width // cells
    down, right = torch.zeros_like(grey), torch.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[..., 1:-1] = grey[..., 2:] - grey[..., :-2]
    magnitude = torch.hypot(down, right)[:, : cell_h * cells, : cell_w * cells]
    angle = torch.remainder(torch.atan2(down, right), math.pi)[:, : cell_h * cells, : cell_w * cells]
    bins = (angle * (orientations / math.pi)).long().clamp(max=orientations - 1)
    votes = magnitude.new_zeros(count, orientations, cell_h * cells, cell_w * cells)
    votes.scatter_(1, bins[:, None], magnitude[:, None])
    cell = F.avg_pool2d(votes, (cell_h, cell_w))  # n o cells cells
    vector = cell.permute(0, 2, 3, 1).flatten(1)
    return vector / (vector.square().sum(1, keepdim=True) + 1e-10).sqrt()


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarity of vectors ``(n, d)``: ``(n,)`` in [-1, 1]; 1 for two zero vectors, 0 for one."""
    product = (first * second).sum(1)
    norms = first.norm(dim=1) * second.norm(dim=1)
    both_empty = (first.norm(dim=1) == 0) & (second.norm(dim=1) == 0)
    return torch.where(both_empty, torch.ones_like(product), product / norms.clamp(min=1e-12)).clamp(-1, 1)
