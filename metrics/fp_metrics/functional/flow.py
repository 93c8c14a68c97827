"""Dense optical flow and what is made of it. Frames are float32 ``(3, h, w)`` RGB in [0, 1]."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.functional.colour import luma

LEAST_SIDE = 16
"""DIS needs a few patches of 8 pixels in each direction."""


def dis_flow(first: Tensor, second: Tensor) -> Tensor:
    """DIS optical flow from one frame to another: float32 ``(2, h, w)``, pixels, (x, y).

    ``first[y, x]`` is found at ``second[y + flow[1], x + flow[0]]``.

    Args:
        first: ``(3, h, w)``.
        second: of the same shape.

    Raises:
        ValueError: for frames smaller than 16x16.

    Source:
        Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016; OpenCV's medium preset.
    """
    return torch.from_numpy(_dis(first, second)).movedim(-1, 0)


def grey_picture(frame: Tensor, side: int | None = None) -> Tensor:
    """A frame as DIS looks at it: uint8 luma ``(h, w)``, of at most `side` pixels in the shorter direction.

    Args:
        frame: ``(3, h, w)``.
        side: larger frames are averaged down to it (by area), smaller ones stay; None: all stay.
    """
    luminance = luma(frame[None]).clamp(0, 1) * 255
    scale = 1.0 if side is None else side / min(frame.shape[-2:])
    if scale < 1:
        height, width = (round(pixels * scale) for pixels in frame.shape[-2:])
        smaller = cv2.resize(luminance[0].cpu().numpy(), (width, height), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(np.asarray(smaller)).round().to(torch.uint8)
    return luminance[0].round().to(torch.uint8)


def grey_flow(first: Tensor, second: Tensor) -> Tensor:
    """DIS optical flow between two pictures of `grey_picture`, as `dis_flow` gives it.

    Raises:
        ValueError: for pictures smaller than 16x16.
    """
    return torch.from_numpy(_dis_of_grey(first.cpu().numpy(), second.cpu().numpy())).movedim(-1, 0)


def _dis(first: Tensor, second: Tensor) -> NDArray[np.float32]:
    return _dis_of_grey(*(grey_picture(frame).cpu().numpy() for frame in (first, second)))


def _dis_of_grey(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    if min(first.shape) < LEAST_SIDE:
        raise ValueError(
            f"optical flow needs frames of at least {LEAST_SIDE}x{LEAST_SIDE}, got {tuple(first.shape)}"
        )
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(first, second, np.zeros((*first.shape, 2), dtype=np.float32))
    return np.asarray(flow, dtype=np.float32)


def middle_frame(first: Tensor, last: Tensor) -> Tensor:
    """The frame halfway between two, by flow: float32 ``(3, h, w)``.

    Mean of both frames, each warped by half the DIS flow between them: ``(first(p - f/2) + last(p + f/2)) /
    2``, bilinear, borders replicated. The flow at p stands in for the flow of the middle frame, as in simple
    motion-compensated interpolation.
    """
    flow = _dis(first, last) / 2
    y, x = np.indices(flow.shape[:2], dtype=np.float32)
    halves = [
        cv2.remap(
            frame.movedim(0, -1).cpu().numpy(),
            x + sign * flow[..., 0],
            y + sign * flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for frame, sign in ((first, -1), (last, 1))
    ]
    return torch.from_numpy(np.asarray((halves[0] + halves[1]) / 2, dtype=np.float32)).movedim(-1, 0)


def middle_frame_agreement(first: Tensor, middle: Tensor, last: Tensor) -> Tensor:
    """Motion smoothness ``1 - mean |middle - middle_frame(first, last)|``: scalar in [0, 1].

    VBench's formula for motion smoothness, with DIS in the place of AMT.
    Source: Huang et al., "VBench", CVPR 2024, https://github.com/Vchitect/VBench (motion_smoothness.py).
    """
    return 1 - (middle - middle_frame(first, last).to(middle)).abs().mean()


def top_motion(flow: Tensor, share: float = 0.05) -> Tensor:
    """Mean of the largest flow magnitudes of ``(2, h, w)``: scalar, pixels.

    VBench's dynamic degree: the top 5 % of the magnitudes, ``int(h * w * share)`` pixels, at least 1.
    Source: https://github.com/Vchitect/VBench (dynamic_degree.py).
    """
    magnitude = flow.norm(dim=0).flatten()
    largest: Tensor = magnitude.topk(max(1, int(len(magnitude) * share))).values
    return largest.mean()
