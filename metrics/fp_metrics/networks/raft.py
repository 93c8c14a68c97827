"""RAFT, the optical flow network of VBench's dynamic degree.

The architecture is torchvision's, and so is the layout of the file. Torchvision's `C_T_V1` is the authors'
raft-things.pth, which VBench loads.

Source: Teed & Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020,
https://arxiv.org/abs/2003.12039.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fp_metrics.networks.checkpoint import fill, read_state
from fp_metrics.weights import weights_path

ARTIFACT = "raft-large"
ITERATIONS = 20
"""Refinements of the flow; VBench's number (RAFT's own default is 12)."""
STRIDE = 8
LEAST_SIDE = 128
"""Pixels: below that the coarsest of the four correlation maps is narrower than 2 cells, and undefined."""
MOST_CORRELATIONS = 2**28
"""Correlations that are held at once (1 GiB): larger batches are split."""


def pad_to_stride(frames: Tensor) -> Tensor:
    """Replicate the borders of ``(n, 3, h, w)`` to multiples of 8; the odd pixel comes last."""
    pads = []
    for size in frames.shape[:-3:-1]:
        missing = -size % STRIDE
        pads += [missing // 2, missing - missing // 2]
    return F.pad(frames, pads, mode="replicate")


def pairs_at_once(height: int, width: int) -> int:
    """How many pairs of padded frames of this size fit into `MOST_CORRELATIONS`, at least 1."""
    cells = math.ceil(height / STRIDE) * math.ceil(width / STRIDE)
    return max(1, MOST_CORRELATIONS // cells**2)


def raft_flow(network: nn.Module, first: Tensor, second: Tensor) -> Tensor:
    """Flow from frames to others: float32 ``(n, 2, h', w')``, pixels, (x, y), of the frames padded to 8.

    ``first[..., y, x]`` is found at ``second[..., y + flow[1], x + flow[0]]``. The padding stays on, as in
    VBench.

    Args:
        network: RAFT, as `raft_large` returns it.
        first: float32 ``(n, 3, h, w)`` in [0, 1], at least 128x128.
        second: of the same shape.
    """
    step, flows = pairs_at_once(*first.shape[-2:]), []
    with torch.inference_mode():
        for a, b in zip(first.split(step), second.split(step), strict=True):
            padded = (pad_to_stride(frames) * 2 - 1 for frames in (a, b))
            flows.append(network(*padded, num_flow_updates=ITERATIONS)[-1])
    return torch.cat(flows)


@functools.cache
def raft_large(device: torch.device) -> nn.Module:
    """RAFT-large with its published weights, ready for inference.

    Raises:
        MissingWeights: where they are not there.
        ValueError: where the file holds other tensors than the network has.
    """
    from torchvision.models.optical_flow import raft_large as architecture

    path = weights_path(ARTIFACT)
    return fill(architecture(weights=None), read_state(path), path).to(device)
