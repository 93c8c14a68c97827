"""Motion and speed of the object's centre as the probe finds it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fp_metrics.estimator import Score
from fp_metrics.families.probe.sight import TURNS_WITHIN, ProbeEstimator, Reading
from fp_metrics.functional.captions import SPEEDS
from fp_metrics.functional.objects import smoothness
from fp_metrics.networks.probe import SIZE


class TrackedEstimator(ProbeEstimator):
    """Looks at the object's centre in three consecutive frames, in pixels of a frame of 64 x 64.

    NaN where the caption says that the camera moves: without the truth nobody knows by how much.
    """

    window: ClassVar[int] = 3
    figures: ClassVar[tuple[str, ...]] = ("centre_error_px",)

    def measure(self, window: Sequence[Reading], position: int) -> float:
        """`follow` the centres of three readings."""
        if self.caption is not None and self.caption.camera_moves:
            return float("nan")
        if not all(reading.seen for reading in window):
            return self.unseen
        return self.follow(np.array([reading.centre for reading in window]))

    @abstractmethod
    def follow(self, path: NDArray[np.float64]) -> float:
        """One value from three centres ``(3, 2)`` (x, y)."""

    def undefined(self) -> str:
        """Why no frame could be measured."""
        if self.caption is not None and self.caption.camera_moves:
            return "the caption says that the camera moves: how the object moves in the scene cannot be seen"
        return super().undefined()


class CentreSmoothness(TrackedEstimator):
    """How little the object's centre accelerates; 0 where it vanished.

    A bounce near the border counts as smooth. A frozen video reads 1: read the frozen flag beside it.
    """

    score: ClassVar[Score] = "motion"
    name: ClassVar[str] = "probe/centre-smoothness"
    scale: ClassVar[float] = 1.0
    """Acceleration, pixels per frame^2, that reads one half."""

    def follow(self, path: NDArray[np.float64]) -> float:
        """`smoothness` of the path."""
        return smoothness(path, self.scale, may_turn=near_border(path))


class SpeedReached(TrackedEstimator):
    """Share of the caption's speed that the object reaches along the caption's axis.

    0 where it stands or vanished, 1 where it is faster than asked. Without a caption that can be read: of the
    world's fastest, one pixel per frame of 64 x 64, in any direction. Windows in which the object turns round
    at the border are left out.
    """

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "probe/speed-reached"
    unit: ClassVar[str] = (
        "share of the caption's speed (without a caption: of 1/64 of the side per frame), [0, 1]"
    )

    def follow(self, path: NDArray[np.float64]) -> float:
        """``min(1, |(p2 - p0) . axis| / (2 speed))``."""
        if near_border(path) and (path[1] - path[0]) @ (path[2] - path[1]) < 0:
            return float("nan")
        moved = path[2] - path[0]
        if self.caption is None:
            return min(1.0, float(np.linalg.norm(moved)) / (2 * max(SPEEDS.values())))
        return min(1.0, abs(float(moved @ np.array(self.caption.direction))) / (2 * self.caption.speed))


def near_border(path: NDArray[np.float64]) -> bool:
    """Whether an object with these centres may touch a border and turn round."""
    x, y = path[1]
    return bool(min(x, y, SIZE - 1 - x, SIZE - 1 - y) < TURNS_WITHIN)
