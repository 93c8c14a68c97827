"""How BlazePose, BlazePalm and BlazeFace say where something is: anchors, boxes, suppression, regions.

Pure functions on numpy arrays. Positions inside a detector's square input are in [0, 1], positions in a
picture in pixels, always (x, y); a picture's left upper corner is (0, 0).

Sources: Bazarevsky et al., "BlazeFace" (arXiv:1907.05047) and "BlazePose" (arXiv:2006.10204), Zhang et al.,
"MediaPipe Hands" (arXiv:2006.10214); the constants are those of MediaPipe's public graph descriptions,
https://github.com/google-ai-edge/mediapipe/tree/master/mediapipe/modules.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PER_LAYER = 2
"""Anchors of one cell and layer: all of the same unit size, so that only their number matters."""

OVERLAP = 0.3
"""Boxes that overlap by more than this are one object."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found, the most certain first.

    Attributes:
        scores: ``(n,)`` in [0, 1].
        boxes: ``(n, 4)``: left, top, right, bottom.
        keypoints: ``(n, k, 2)``: (x, y).
    """

    scores: Floats
    boxes: Floats
    keypoints: Floats

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Region:
    """A turned square of a picture, in pixels.

    Attributes:
        x: of its centre.
        y: of its centre.
        side: its length.
        angle: by which its content is turned clockwise on the screen, radians; 0: upright.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    def matrix(self) -> Floats:
        """``(2, 3)``: takes positions (x, y, 1) in the region, [0, 1], to pixels of the picture."""
        across, down = self.side * math.cos(self.angle), self.side * math.sin(self.angle)
        return np.array(
            [[across, -down, self.x - (across - down) / 2], [down, across, self.y - (across + down) / 2]]
        )


def whole(height: int, width: int) -> Region:
    """The upright square around a whole picture."""
    return Region(width / 2, height / 2, max(height, width))


def anchor_centres(size: int, strides: Sequence[int], per_layer: int = PER_LAYER) -> Floats:
    """Centres of the anchors of a detector: ``(n, 2)`` in [0, 1].

    Row by row over the cells, and inside a cell over its anchors; layers of one stride share their cells.

    Args:
        size: side of the detector's input, pixels.
        strides: pixels per cell of each layer.
        per_layer: anchors of one cell and layer.
    """
    centres = []
    for stride, layers in groupby(strides):
        cells = math.ceil(size / stride)
        y, x = (np.indices((cells, cells)).reshape(2, -1) + 0.5) / cells
        centres.append(np.repeat(np.stack((x, y), 1), per_layer * len(list(layers)), 0))
    return np.concatenate(centres)


def decode(
    raw: NDArray[Any], logits: NDArray[Any], anchors: Floats, size: int, threshold: float = 0.5
) -> Detections:
    """Boxes and keypoints of the anchors whose score reaches a threshold, the most certain first.

    A raw row is the box's centre (x, y) from the anchor, its width and height, then the keypoints (x, y) from
    the anchor, all in pixels of the detector's input. The score is the logit's sigmoid.

    Args:
        raw: ``(n, 4 + 2 k)``.
        logits: ``(n,)``.
        anchors: ``(n, 2)``.
        size: side of the detector's input.
        threshold: least score.
    """
    scores = sigmoid(logits.astype(np.float64))
    chosen = np.argsort(-scores, kind="stable")
    chosen = chosen[scores[chosen] >= threshold]
    values = raw.astype(np.float64).reshape(len(raw), -1, 2)[chosen] / size
    centre, extent = values[:, 0] + anchors[chosen], values[:, 1]
    boxes = np.concatenate((centre - extent / 2, centre + extent / 2), 1)
    return Detections(scores[chosen], boxes, values[:, 2:] + anchors[chosen, None])


def sigmoid(logits: Floats) -> Floats:
    """``1 / (1 + exp(-x))``, with x clipped to [-100, 100]."""
    return 1 / (1 + np.exp(-np.clip(logits, -100, 100)))


def overlap(box: Floats, boxes: Floats) -> Floats:
    """Intersection over union of one box ``(4,)`` with others ``(n, 4)``: ``(n,)`` in [0, 1]."""
    shared = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    union = areas + (box[2:] - box[:2]).prod() - shared
    return np.where(shared > 0, shared / np.where(union > 0, union, 1), 0.0)


def blend_overlapping(found: Detections, threshold: float = OVERLAP) -> Detections:
    """Non-maximum suppression that blends: one detection for each group of overlapping ones.

    The most certain detection and all that overlap it by more than the threshold are averaged, weighted by
    their scores; the blend keeps the best score. Then the same with what is left.
    Source: "BlazeFace", section 3.4 (the tie resolution strategy).

    Args:
        found: the most certain first.
        threshold: intersection over union above which two boxes are one object.
    """
    scores, boxes, keypoints = [], [], []
    left = np.arange(len(found))
    while len(left):
        together = overlap(found.boxes[left[0]], found.boxes[left]) > threshold
        together[0] = True  # also a box without an area goes
        group = left[together]
        weights = found.scores[group] / found.scores[group].sum()
        scores.append(found.scores[left[0]])
        boxes.append(weights @ found.boxes[group])
        keypoints.append(np.tensordot(weights, found.keypoints[group], 1))
        left = left[~together]
    if not scores:
        return found
    return Detections(np.array(scores), np.stack(boxes), np.stack(keypoints))


def placed(found: Detections, region: Region) -> Detections:
    """The same in pixels of the picture, for an upright region that the detector has seen."""
    corners = to_picture(found.boxes.reshape(-1, 2, 2), region).reshape(-1, 4)
    return replace(found, boxes=corners, keypoints=to_picture(found.keypoints, region))


def to_picture(positions: Floats, region: Region) -> Floats:
    """Positions ``(..., 2)`` in a region, [0, 1], as pixels of the picture."""
    matrix = region.matrix()
    return positions @ matrix[:, :2].T + matrix[:, 2]


def turn(start: Floats, end: Floats, upright: float) -> float:
    """By how much a picture is turned, clockwise on the screen: radians in [-pi, pi).

    Args:
        start: (x, y).
        end: (x, y).
        upright: where the line from `start` to `end` points to in an upright picture, radians
            counter-clockwise from the right.
    """
    angle = upright - math.atan2(start[1] - end[1], end[0] - start[0])
    return angle - 2 * math.pi * math.floor((angle + math.pi) / (2 * math.pi))


def person_region(keypoints: Floats) -> Region:
    """Where a whole person is: 2.5 times as wide as the distance of hips and a point above, around the hips.

    Args:
        keypoints: ``(k, 2)``, pixels: the middle of the hips and the point above; others do not count.
    """
    centre, above = keypoints[0], keypoints[1]
    side = 1.25 * 2 * float(np.hypot(*(above - centre)))
    return Region(float(centre[0]), float(centre[1]), side, turn(centre, above, math.pi / 2))


def hand_region(box: Floats, keypoints: Floats) -> Region:
    """Where a whole hand is: 2.6 palms wide, half a palm towards the fingers.

    Args:
        box: ``(4,)`` around the palm, pixels.
        keypoints: ``(k, 2)``; 0 is the wrist, 2 the base of the middle finger.
    """
    angle = turn(keypoints[0], keypoints[2], math.pi / 2)
    x, y = (box[:2] + box[2:]) / 2
    shift = 0.5 * float(box[3] - box[1])
    side = 2.6 * float((box[2:] - box[:2]).max())
    return Region(float(x) + shift * math.sin(angle), float(y) - shift * math.cos(angle), side, angle)


def face_region(box: Floats, keypoints: Floats) -> Region:
    """Where a whole face is: 1.5 boxes wide, with the eyes level.

    Args:
        box: ``(4,)`` around the face, pixels.
        keypoints: ``(k, 2)``; 0 and 1 are the eyes, from left to right in the picture.
    """
    x, y = (box[:2] + box[2:]) / 2
    side = 1.5 * float((box[2:] - box[:2]).max())
    return Region(float(x), float(y), side, turn(keypoints[0], keypoints[1], 0.0))


def cut_out(
    picture: NDArray[np.uint8], region: Region, size: int, *, repeat_border: bool
) -> NDArray[np.uint8]:
    """A region of a picture, turned upright: ``(size, size, 3)``, bilinear.

    Positions are rounded to 1/32 pixel by the fixed-point maps, as in OpenCV's own warps before version 5 and
    hence in MediaPipe: the pose network answers to the difference.

    Args:
        picture: ``(h, w, 3)``.
        region: may reach beyond the picture.
        size: side of the result, pixels.
        repeat_border: beyond the picture: its border pixels, or black.
    """
    row, column = np.indices((size, size)) / size
    positions = to_picture(np.stack((column, row), -1), region).astype(np.float32)
    whole_part, fraction = cv2.convertMaps(positions[..., 0], positions[..., 1], cv2.CV_16SC2)
    border = cv2.BORDER_REPLICATE if repeat_border else cv2.BORDER_CONSTANT
    return np.asarray(cv2.remap(picture, whole_part, fraction, cv2.INTER_LINEAR, borderMode=border), np.uint8)


def refine(points: Floats, heatmaps: NDArray[Any], *, reach: int = 4, least: float = 0.5) -> Floats:
    """Landmarks moved to the middle of their heatmap nearby: ``(n, 2)`` in [0, 1].

    The mean position of the ``2 reach + 1`` cells around (9, as in mediapipe 0.10.21; later graphs say 7),
    weighted by the heatmap, where its peak there reaches `least`; other landmarks, and those beyond the map,
    stay.

    Args:
        points: ``(n, 2)`` in [0, 1] of the map.
        heatmaps: logits ``(h, w, n)``.
        reach: cells in each direction.
        least: smallest peak.
    """
    height, width = heatmaps.shape[:2]
    refined = points.copy()
    for index, (x, y) in enumerate(points * (width, height)):
        column, row = int(x), int(y)
        if not (0 <= column < width and 0 <= row < height):
            continue
        left, top = max(0, column - reach), max(0, row - reach)
        near = heatmaps[top : row + reach + 1, left : column + reach + 1, index]
        weights = sigmoid(near.astype(np.float64))
        if weights.max() >= least:
            rows, columns = np.indices(weights.shape)
            refined[index] = (
                (weights * (columns + left)).sum() / weights.sum() / width,
                (weights * (rows + top)).sum() / weights.sum() / height,
            )
    return refined
