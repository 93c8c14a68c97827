"""VBench's dynamic degree, whatever flow it is read from: what is compared, and when a video moves."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.vbench import LEAST_SAMPLED, dynamic_interval, dynamic_threshold, is_dynamic
from fp_metrics.observer import About, Observer


class TopMotion(NamedTuple):
    """What moves between two frames.

    Attributes:
        pixels: mean of the largest 5 % of the flow magnitudes, in pixels of the pictures that were compared.
        height: of these pictures.
        width: of these pictures.
    """

    pixels: float
    height: int
    width: int

    @property
    def percent(self) -> float:
        """Motion in % of the shorter side."""
        return 100 * self.pixels / min(self.height, self.width)


class SampledPairs(Observer):
    """Looks at frames about an eighth of a second apart, ``max(1, round(fps / 8))`` frames."""

    def __init__(self, about: About) -> None:
        super().__init__(about)
        self.every = dynamic_interval(about.fps)
        self.span = self.every + 1


class DynamicDegree(Estimator):
    """Whether enough pairs of sampled frames move enough.

    A pair's value is 1 where its motion exceeds the threshold, else 0; so is the video's. Of two sampled
    frames the published rule would always say yes: three are asked for.

    Attributes:
        vbench_compat: judge two sampled frames too; the public code calls them dynamic whatever they show.
    """

    score: ClassVar[Score] = "dynamic"
    unit: ClassVar[str] = "1 where it moves, else 0"
    higher_is_better = None  # how much moves is no quality
    vbench_compat: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.vbench_compat:
            self.least_frames = max(self.least_frames, (LEAST_SAMPLED - 1) * self._observer.every + 1)

    def measure(self, window: Sequence[TopMotion], position: int) -> float:
        """1 where the motion exceeds the threshold for pictures of this size."""
        motion = window[0]
        return float(motion.pixels > dynamic_threshold(motion.height, motion.width))

    def aggregate(self, values: NDArray[np.float64]) -> float:
        """1 where enough of the pairs move."""
        return float(is_dynamic(values, vbench_compat=self.vbench_compat))
