"""VBench's published rules: thresholds, sizes and counts, without the networks they are applied to.

Where the public code has a known defect, `vbench_compat` repeats it, for figures that must match published
ones.

Source: Huang et al., "VBench", CVPR 2024, https://github.com/Vchitect/VBench, commit 45e79ec; Zheng et al.,
"VBench-2.0", arXiv 2503.21755, in the same place.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

PUBLISHED_RANGE: Final[Mapping[str, tuple[float, float]]] = {
    "motion_smoothness": (0.706, 0.9975),
    "overall_consistency": (0.0, 0.364),
}
"""Dimension -> what the published tables map to 0 and to 1; any other of ours: (0, 1)."""

SAMPLED_FPS = 8
"""Frames per second between which flow is measured."""
LEAST_SAMPLED = 3
"""Sampled frames below which the published count asks for no moving pair at all: too few to judge."""
CLIP_FRAMES = 8
CLIP_SIDE = 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
IMAGING_SIDE = 512
ANATOMY_THRESHOLDS: Final[Mapping[str, float]] = {
    "human": 0.4545454545454546,
    "face": 0.30303030303030304,
    "hand": 0.3232,
}
"""Kind of crop -> probability of "abnormal" above which a person counts as abnormal."""
IDENTITY_THRESHOLD = 0.4
"""Cosine to the first frame's face from which on a face counts as the same."""
LEAST_FACES = 20
"""Judged frames after the first below which the identity of a video is undefined."""


def normalised(value: float, dimension: str) -> float:
    """A dimension's mean on the scale of the published tables: ``(x - low) / (high - low)``, not clamped."""
    low, high = PUBLISHED_RANGE.get(dimension, (0.0, 1.0))
    return (value - low) / (high - low)


def predicted_agreement(frames: Tensor, predicted: Tensor) -> Tensor:
    """Motion smoothness of single frames: ``(255 - mean |frame - trunc(255 predicted)|) / 255``.

    Args:
        frames: uint8 ``(n, c, h, w)``; VBench's odd frames.
        predicted: float ``(n, c, h, w)`` in [0, 1], from each frame's two neighbours.

    Returns:
        float64 ``(n,)`` in [0, 1].
    """
    truncated = (predicted * 255).clamp(0, 255).to(torch.uint8)
    return (255 - (frames.double() - truncated.double()).abs().flatten(1).mean(1)) / 255


def dynamic_interval(fps: float) -> int:
    """Frames between sampled frames in dynamic degree: ``max(1, round(fps / 8))``, halves to even."""
    return max(1, round(fps / SAMPLED_FPS))


def dynamic_threshold(height: int, width: int) -> float:
    """Flow in pixels above which a pair of frames of this size moves: ``6 min(h, w) / 256``."""
    return 6.0 * (min(height, width) / 256.0)


def is_dynamic(moving: Sequence[float] | NDArray[np.float64], *, vbench_compat: bool = False) -> bool:
    """Dynamic degree of one video: whether at least ``round(4 n / 16)`` of its pairs move, and at least one.

    Args:
        moving: ``(n - 1,)``, for each pair of neighbours among n sampled frames 1 where its flow (the mean of
            the largest 5 % of the magnitudes) is above `dynamic_threshold`, else 0.
        vbench_compat: ask for ``round(4 n / 16)`` only. Of two sampled frames that is none, so the public
            code calls any two frames dynamic.
    """
    asked = round(4 * ((len(moving) + 1) / 16.0))
    least = asked if vbench_compat else max(1, asked)
    return len(moving) > 0 and sum(bool(pair > 0) for pair in moving) >= least


def clip_indices(length: int, count: int = CLIP_FRAMES) -> list[int]:
    """The frames that stand for a video in overall consistency: the middle ones of `count` equal stretches.

    Stretch i is ``floor(i T / count)`` to ``floor((i + 1) T / count) - 1``; of an even number of frames the
    earlier middle one is taken. A video of fewer frames gives them all, and its last one again.

    Raises:
        ValueError: for a video without frames.
    """
    if length < 1:
        raise ValueError(f"a video needs at least 1 frame, got length={length}")
    stretches = min(count, length)
    edges = [step * length // stretches for step in range(stretches + 1)]
    middles = [(edge + following - 1) // 2 for edge, following in itertools.pairwise(edges)]
    return middles + [middles[-1]] * (count - stretches)


def clip_size(height: int, width: int, side: int = CLIP_SIDE) -> tuple[int, int]:
    """Height and width before the crop for CLIP and ViCLIP: the shorter side becomes `side` (bicubic)."""
    if height <= width:
        return side, int(side * width / height)
    return int(side * height / width), side


def centre_crop(height: int, width: int, side: int = CLIP_SIDE) -> tuple[int, int]:
    """Top and left of the square in the middle: ``round((h - side) / 2)``, halves to even."""
    return round((height - side) / 2.0), round((width - side) / 2.0)


def clip_frames(frames: Tensor) -> Tensor:
    """Frames as aesthetic quality shows them to CLIP: shorter side 224, cropped, normalised.

    Bicubic without antialias, and not clamped: as published, sharp edges overshoot.

    Args:
        frames: float ``(n, 3, h, w)`` in [0, 1].

    Returns:
        float ``(n, 3, 224, 224)``, minus CLIP's mean and over its deviation.
    """
    size = clip_size(*frames.shape[-2:])
    resized = F.interpolate(frames, size=size, mode="bicubic", align_corners=False)
    top, left = centre_crop(*size)
    mean, deviation = (frames.new_tensor(of)[:, None, None] for of in (CLIP_MEAN, CLIP_DEVIATION))
    return (resized[..., top : top + CLIP_SIDE, left : left + CLIP_SIDE] - mean) / deviation


def imaging_size(height: int, width: int, most: int = IMAGING_SIDE) -> tuple[int, int]:
    """Height and width of a frame for MUSIQ: a longer side above 512 becomes 512 (bilinear), others stay.

    Rounded down in floating point, as published: a side of 512 can come out as 511.
    """
    longer = max(height, width)
    if longer <= most:
        return height, width
    scale = float(most) / longer
    return int(scale * height), int(scale * width)


def imaging_quality_frames(frames: Tensor) -> Tensor:
    """Frames as imaging quality shows them to MUSIQ: of `imaging_size`, bilinear without antialias.

    Args:
        frames: float ``(n, 3, h, w)``.
    """
    size = imaging_size(*frames.shape[-2:])
    if size == tuple(frames.shape[-2:]):
        return frames
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False)


def is_abnormal(probabilities: Mapping[str, Tensor]) -> bool:
    """Whether any crop of one person looks abnormal.

    Args:
        probabilities: of "abnormal", ``(k,)`` for the k crops of a kind in `ANATOMY_THRESHOLDS`.
    """
    return any(
        bool((probabilities[kind].double() > threshold).any())
        for kind, threshold in ANATOMY_THRESHOLDS.items()
        if kind in probabilities
    )


def anatomy_score(abnormal: int, people: int, *, vbench_compat: bool = False) -> float:
    """Human anatomy ``1 - abnormal / people``, counted over all frames: in [0, 1].

    Args:
        abnormal: people in whom `is_abnormal`, each frame's counted anew.
        people: all of them. None at all: NaN, as there is nothing to judge.
        vbench_compat: a video without people is perfect, 1.
    """
    if people:
        return 1 - abnormal / people
    return 1.0 if vbench_compat else math.nan


def identity_rate(cosines: Tensor, faces: Tensor, *, vbench_compat: bool = False) -> float:
    """Human identity: share of the judged frames whose face agrees with the first frame's, in [0, 1].

    Args:
        cosines: float ``(n,)``, similarity of each frame's face to the first frame's; read only where a frame
            has exactly one face.
        faces: int ``(n,)``, faces in each frame. The first frame's own entry is not judged.
        vbench_compat: judge frames without a face too, as agreeing; published, because the detector returns
            one empty box for them. Frames with several faces are never judged.

    Returns:
        NaN where the first frame has not exactly one face, or fewer than 20 frames can be judged (VBench
        writes -1 for such a video).
    """
    if not len(faces) or int(faces[0]) != 1:
        return math.nan
    one, none = faces[1:] == 1, faces[1:] == 0
    agreeing = one & (cosines[1:] >= IDENTITY_THRESHOLD)
    judged = one | none if vbench_compat else one
    if int(judged.sum()) < LEAST_FACES:
        return math.nan
    return int((agreeing | none if vbench_compat else agreeing).sum()) / int(judged.sum())
