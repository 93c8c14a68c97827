"""Clarity as VBench's imaging quality: MUSIQ trained on SPAQ."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.vbench import IMAGING_SIDE, imaging_quality_frames
from fp_metrics.networks.musiq import ARTIFACT, LONGER_SIDES, musiq_spaq
from fp_metrics.observer import Observer


class MusiqQuality(Observer):
    """MUSIQ's rating of each frame, the frames of a call as one batch."""

    weights: ClassVar[tuple[str, ...]] = (ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {
        "longest_side": IMAGING_SIDE,
        "scales": [*LONGER_SIDES, "as it came"],
    }

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """The frame at most 512 pixels long, ``(3, h, w)``."""
        return imaging_quality_frames(frame[None])[0]

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[float]:
        """The rating of each frame, 0 to 100."""
        frames = torch.stack([window[0] for window in windows])
        with torch.inference_mode():
            ratings: list[float] = musiq_spaq(frames.device)(frames).tolist()
        return ratings


class MusiqSpaq(Estimator):
    """The paper's clarity: mean MUSIQ rating of the frames.

    VBench reports the same figure per video, and a hundredth of it over several.
    """

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "paper/musiq-spaq"
    family: ClassVar[str] = "paper"
    unit: ClassVar[str] = "rating, 0 to 100"
    observer: ClassVar[type[Observer]] = MusiqQuality

    def measure(self, window: Sequence[float], position: int) -> float:
        """The frame's rating."""
        return window[0]
