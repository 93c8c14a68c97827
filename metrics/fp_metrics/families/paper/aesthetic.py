"""Aesthetic as VBench's aesthetic quality: the LAION predictor on CLIP ViT-L/14."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.vbench import CLIP_SIDE, clip_frames
from fp_metrics.networks.clip_aesthetic import CLIP, HEAD, laion_aesthetic
from fp_metrics.observer import Observer


class LaionRating(Observer):
    """The predictor's rating of each frame, the frames of a call as one batch."""

    weights: ClassVar[tuple[str, ...]] = (CLIP, HEAD)
    settings: ClassVar[dict[str, Any]] = {"side": CLIP_SIDE, "precision": "float32"}

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """The frame as CLIP sees it, ``(3, 224, 224)``."""
        return clip_frames(frame[None])[0]

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[float]:
        """A tenth of each frame's rating."""
        pictures = torch.stack([window[0] for window in windows])
        with torch.inference_mode():
            ratings: list[float] = laion_aesthetic(pictures.device)(pictures).tolist()
        return ratings


class LaionAesthetic(Estimator):
    """The paper's aesthetic: a tenth of the mean LAION rating of the frames.

    VBench runs CLIP in half precision on a GPU; here it runs in float32 everywhere.
    """

    score: ClassVar[Score] = "aesthetic"
    name: ClassVar[str] = "paper/laion-aesthetic"
    family: ClassVar[str] = "paper"
    unit: ClassVar[str] = "a tenth of a rating of 1 to 10"
    observer: ClassVar[type[Observer]] = LaionRating

    def measure(self, window: Sequence[float], position: int) -> float:
        """A tenth of the frame's rating."""
        return window[0]
