"""Motion smoothness and speed of the tracked object."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fp_metrics.estimator import Score
from fp_metrics.families.world.sighted import SightedEstimator
from fp_metrics.functional.objects import Sighting, smoothness


class TrackedEstimator(SightedEstimator):
    """Looks at the object's centre in three consecutive frames.

    0 where the object vanished in one of them, NaN where it is truly hidden or half hidden in one: the centre
    of the visible part does not move as the object does.
    """

    window: ClassVar[int] = 3

    def measure(self, window: Sequence[Sighting], position: int) -> float:
        """`follow` the centres of three sightings."""
        frames = range(position - 1, position + 2)
        if not all(self.world.whole(frame) for frame in frames):
            return float("nan")
        if any(self.vanished(seen, frame) for seen, frame in zip(window, frames, strict=True)):
            return 0.0
        view = self.world.offsets[position - 1 : position + 2].numpy().astype(np.float64)
        return self.follow(np.array([seen.centre for seen in window]) + view, position)

    @abstractmethod
    def follow(self, path: NDArray[np.float64], position: int) -> float:
        """One value from three centres ``(3, 2)`` (x, y) in the scene, the middle one at `position`."""

    def undefined(self) -> str:
        """Why no frame could be measured."""
        return "the object is truly hidden, or turns round, in all of these frames"


class CentreSmoothness(TrackedEstimator):
    """How little the object's centre accelerates; 0 where it vanished.

    A bounce at the border counts as smooth. The true video reads about 0.9: the centre is measured to a
    fraction of a pixel.
    """

    score: ClassVar[Score] = "motion"
    name: ClassVar[str] = "world/centre-smoothness"
    scale: ClassVar[float] = 1.0
    """Acceleration, pixels per frame^2, that reads one half."""

    def follow(self, path: NDArray[np.float64], position: int) -> float:
        """`smoothness` of the path."""
        return smoothness(
            path, self.scale, may_turn=self.world.near_border((float(path[1, 0]), float(path[1, 1])))
        )


class SpeedReached(TrackedEstimator):
    """Share of the caption's speed that the object reaches along the caption's axis.

    0 where it stands or vanished. Faster than asked reads 1. Frames in which the true object turns round are
    left out.
    """

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "world/speed-reached"

    def follow(self, path: NDArray[np.float64], position: int) -> float:
        """``min(1, |(p2 - p0) . axis| / (2 speed))``."""
        if self.world.turns(position):
            return float("nan")
        along = abs(float((path[2] - path[0]) @ np.array(self.world.direction)))
        return min(1.0, along / (2 * self.world.speed))
