"""Motion smoothness: how well every second frame is predicted from its two neighbours."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.vbench import predicted_agreement
from fp_metrics.networks.rife import ARTIFACT, load_rife
from fp_metrics.observer import Observer

LONGER_SIDE = 640
"""Pixels: larger frames are made smaller, the network's time grows with their area."""


class RifeMiddleFrame(Observer):
    """Agreement of every odd frame with what RIFE makes of the two even frames beside it.

    One triple at a time: a value does not depend on what else is looked at, to the last bit. Refined, because
    without its U-Net the network can predict worse than the mean of both frames does (a clip of a city, 640
    pixels long: 33.3 dB, the mean 34.3, refined 37.0).
    """

    span = 3
    every = 2
    weights: ClassVar[tuple[str, ...]] = (ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {"longer_side": LONGER_SIDE, "refined": True}

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """The frame in 8 bits, uint8 ``(3, h, w)``, its longer side at most 640 pixels."""
        scale = LONGER_SIDE / max(frame.shape[-2:])
        if scale < 1:
            size = tuple(max(1, round(side * scale)) for side in frame.shape[-2:])
            frame = F.interpolate(frame[None], size=size, mode="bilinear", antialias=True)[0]
        return (frame.clamp(0, 1) * 255).round().to(torch.uint8)

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[float]:
        """The agreement of each window's middle frame.

        Raises:
            MissingWeights: the artifact `rife-v4` is not there.
        """
        network = load_rife(windows[0][0].device)
        agreements = []
        for first, middle, last in windows:
            with torch.inference_mode():
                predicted = network(first[None] / 255, last[None] / 255).middle
            agreements.append(float(predicted_agreement(middle[None], predicted)))
        return agreements


class RifeMotion(Estimator):
    """VBench's motion smoothness with RIFE in the place of AMT.

    Falls with jerks, flicker and shuffling. A frozen video reads 1: read the frozen flag beside it.
    """

    score: ClassVar[Score] = "motion"
    name: ClassVar[str] = "offline/rife-middle-frame"
    family: ClassVar[str] = "offline"
    observer: ClassVar[type[Observer]] = RifeMiddleFrame

    def measure(self, window: Sequence[float], position: int) -> float:
        """The agreement of the middle frame."""
        return window[0]
