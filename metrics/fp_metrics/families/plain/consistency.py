"""Identity as general feature consistency: no face, no learned feature."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.colour import bhattacharyya, colour_histogram, luma
from fp_metrics.functional.features import cosine, hog, shrink
from fp_metrics.observer import Observer


class HogColour(Observer):
    """The gradients (HOG) and the colours of each frame."""

    side: ClassVar[int] = 32
    """Frames are shrunk to this shorter side first: fine noise is no change of identity."""

    def keep(self, frame: Tensor, position: int) -> tuple[Tensor, Tensor]:
        """The frame's HOG ``(1, 144)`` and colour histogram ``(1, 125)``."""
        small = shrink(frame[None], self.side)
        return hog(luma(small)), colour_histogram(small)


class HogColourToFirst(Estimator):
    """Likeness of each frame to the first one it is given, by gradients (HOG) and colours (joint histogram).

    Run on a segment alone, it compares with that segment's first frame, as the paper's drift does. The first
    frame itself reads 1. A frozen video reads 1: read the frozen flag beside it.
    """

    score: ClassVar[Score] = "identity"
    name: ClassVar[str] = "plain/hog-colour-to-first"
    family: ClassVar[str] = "plain"
    observer: ClassVar[type[Observer]] = HogColour
    least_frames = 2
    local: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first: tuple[Tensor, Tensor] | None = None

    def measure(self, window: Sequence[tuple[Tensor, Tensor]], position: int) -> float:
        """Mean of the cosine of the HOGs and the Bhattacharyya coefficient of the histograms."""
        if self._first is None:
            self._first = window[0]
        gradients = cosine(window[0][0], self._first[0])
        colours = bhattacharyya(window[0][1], self._first[1])
        return float(torch.mean(torch.cat((gradients, colours))))

    def reset(self) -> None:
        """Forget all frames, the first one too."""
        super().reset()
        self._first = None
