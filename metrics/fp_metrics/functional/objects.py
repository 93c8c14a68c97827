"""Finding one object before a known background, and comparing its shape, path and look."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.functional.colour import bhattacharyya, colour_histogram
from fp_metrics.functional.features import cosine

LEAST_DIFFERENCE = 0.06
"""Smallest difference from the background, in [0, 1], that can count as object."""

_DISC_3 = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
_DISC_5 = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


@dataclass(frozen=True, eq=False)
class Sighting:
    """Where an object is seen in one frame.

    Attributes:
        mask: bool ``(h, w)``.
        area: pixels of the mask.
        centre: (x, y), pixels, weighted by coverage; NaN where nothing is seen.
        frame: float32 ``(3, h, w)``, the frame it is seen in.
    """

    mask: Tensor
    area: int
    centre: tuple[float, float]
    frame: Tensor


def sight(frame: Tensor, background: Tensor) -> Sighting:
    """Find the object that differs from the background.

    A pixel differs when its largest channel difference exceeds ``0.06 + 2 * median difference`` of the frame:
    a background that changed as a whole raises the threshold instead of becoming an object. The outline with
    the largest area is taken and filled, with any other of at least a quarter of that area (an object may be
    seen on both sides of a pillar). At its edge, 2 pixels wide, a pixel's coverage is its difference over the
    largest difference nearby, and pixels covered by more than a half make the mask.

    Args:
        frame: float32 ``(3, h, w)`` in [0, 1].
        background: the same without the object.
    """
    difference = (frame - background).abs().amax(0).cpu().numpy()
    differs = (difference > LEAST_DIFFERENCE + 2 * np.median(difference)).astype(np.uint8)
    solid = cv2.morphologyEx(cv2.morphologyEx(differs, cv2.MORPH_OPEN, _DISC_3), cv2.MORPH_CLOSE, _DISC_3)
    filled = _fill_largest(np.asarray(solid, dtype=np.uint8))
    inside = cv2.erode(filled, _DISC_5, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    nearby = np.maximum(cv2.dilate(difference, _DISC_5), LEAST_DIFFERENCE)
    coverage = np.where(inside > 0, 1, filled * difference / nearby)
    mask = coverage > 0.5
    return Sighting(torch.from_numpy(mask), int(mask.sum()), _centre(coverage), frame)


def _fill_largest(differs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    outlines, _ = cv2.findContours(differs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    areas = [cv2.contourArea(outline) for outline in outlines]
    kept = [outline for outline, area in zip(outlines, areas, strict=True) if area >= 0.25 * max(areas)]
    filled = np.zeros_like(differs)
    cv2.drawContours(filled, kept, -1, (1,), cv2.FILLED)
    return filled


def _centre(weights: NDArray[Any]) -> tuple[float, float]:
    """Weighted mean (x, y) of the pixels of ``(h, w)``; NaN where all weights are 0."""
    total = float(weights.sum())
    if not total:
        return float("nan"), float("nan")
    x, y = np.arange(weights.shape[1]), np.arange(weights.shape[0])
    return float(weights.sum(0) @ x / total), float(weights.sum(1) @ y / total)


def centred(image: Tensor, centre: tuple[float, float]) -> Tensor:
    """Shift ``(h, w)`` or ``(c, h, w)``: `centre` (x, y) comes to the middle. Bilinear, 0 outside."""
    height, width = image.shape[-2:]
    shift = np.array(
        [[1, 0, (width - 1) / 2 - centre[0]], [0, 1, (height - 1) / 2 - centre[1]]], dtype=np.float32
    )
    channels_last = image.movedim(0, -1) if image.ndim == 3 else image
    moved = cv2.warpAffine(np.ascontiguousarray(channels_last.float().cpu().numpy()), shift, (width, height))
    result = torch.from_numpy(np.asarray(moved, dtype=np.float32))
    return result.movedim(-1, 0) if image.ndim == 3 else result


def look_of(seen: Sighting) -> tuple[Tensor, Tensor]:
    """Colour histogram ``(1, 125)`` of the object, and the object alone in the middle of a frame, flat."""
    pixels = seen.frame[:, seen.mask][None, :, None]
    return colour_histogram(pixels), centred(seen.frame * seen.mask, seen.centre).flatten()[None]


def likeness(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> float:
    """Likeness of two looks (see `look_of`) of an object, wherever it is, in [0, 1].

    Mean of the Bhattacharyya coefficient of the colour histograms and of the cosine of the cut-outs (RGB
    inside the mask, 0 outside, moved to the middle): colours, texture and outline all count.
    """
    parts = bhattacharyya(first[0], second[0]), cosine(first[1], second[1]).clamp(min=0)
    return float(torch.mean(torch.cat(parts)))


def soft_iou(first: Tensor, second: Tensor) -> float:
    """Intersection over union ``sum min / sum max`` of masks ``(h, w)`` in [0, 1]; 0 for two empty ones.

    Source: Ruzicka/Jaccard, https://en.wikipedia.org/wiki/Jaccard_index.
    """
    union = float(torch.maximum(first, second).sum())
    return float(torch.minimum(first, second).sum()) / union if union else 0.0


def nearest_colour(pixels: Tensor, colours: Tensor) -> Tensor:
    """Index of the nearest of ``(k, 3)`` colours for each of ``(m, 3)`` pixels, by RGB distance: ``(m,)``."""
    return torch.cdist(pixels, colours).argmin(1)


def smoothness(path: NDArray[np.float64], scale: float, *, may_turn: bool = False) -> float:
    """How little three consecutive positions accelerate: ``scale / (scale + |a|)`` in (0, 1].

    ``a = p2 - 2 p1 + p0``. Where the object may turn round, the gentler of going on and bouncing straight
    back
    counts: ``min(|v2 - v1|, |v2 + v1|)``.

    Args:
        path: ``(3, 2)``, pixels.
        scale: acceleration in pixels per frame^2 that reads one half.
        may_turn: whether a bounce is allowed here.
    """
    before, after = path[1] - path[0], path[2] - path[1]
    acceleration = float(np.linalg.norm(after - before))
    if may_turn:
        acceleration = min(acceleration, float(np.linalg.norm(after + before)))
    return scale / (scale + acceleration)
