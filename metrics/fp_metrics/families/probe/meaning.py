"""What the probe reads, compared with what the caption says."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fp_metrics.estimator import Score
from fp_metrics.families.probe.sight import TURNS_WITHIN, ProbeEstimator, Reading
from fp_metrics.networks.probe import SIZE


class CaptionReadback(ProbeEstimator):
    """Share of the caption's attributes that is read back: presence, shape, colour, texture, direction.

    Presence is a must: 0 where the object vanished. Shape, colour and texture are the likeliest of the middle
    frame. Direction: the centre moves by at least a quarter of the caption's speed, within 30 degrees of the
    way that it has to go by now. That is the way that the caption says it starts, and away from each border
    that it has come to since; near a border ahead both ways are right: nobody knows when it touches it.
    Direction is left out where the caption says that the camera moves. How fast it is, is dynamic's.
    """

    score: ClassVar[Score] = "semantic"
    name: ClassVar[str] = "probe/caption-readback"
    unit: ClassVar[str] = "share of attributes, [0, 1]"
    window: ClassVar[int] = 3
    remembers = True  # the borders that the object came to
    figures: ClassVar[tuple[str, ...]] = (
        "presence_accuracy",
        "shape_accuracy",
        "colour_accuracy",
        "texture_accuracy",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heading, self._touched = 1, 0

    def measure(self, window: Sequence[Reading], position: int) -> float:
        """Share of attributes read back in the middle frame; NaN without a caption."""
        said = self.caption
        if said is None:
            return float("nan")
        if not all(reading.seen for reading in window):
            return self.unseen
        read = window[1]
        right = [read.shape == said.shape, read.colour == said.colour, read.texture == said.texture]
        if not said.camera_moves:
            right.append(self._moves_as_said(window, np.array(said.direction), said.speed))
        return (1 + sum(right)) / (1 + len(right))

    def _moves_as_said(self, window: Sequence[Reading], start: NDArray[np.float64], speed: float) -> bool:
        """Whether the centre goes where it has to by now, given the windows before."""
        path = np.array([reading.centre for reading in window])
        steps = np.diff(path, axis=0) @ start  # positive: the way that it started
        place = (path[1] - (SIZE - 1) / 2) @ start  # positive: beyond the middle, that way
        border = int(np.sign(place)) if abs(place) > (SIZE - 1) / 2 - TURNS_WITHIN else 0
        if border == self._heading:  # it lies ahead
            self._touched = border
            along = max(abs(steps.sum()), np.abs(steps).sum() / 2)  # a turn is there and back
        else:
            if border == 0 and self._touched:
                self._heading, self._touched = -self._touched, 0
            along = self._heading * steps.sum()
        distance = np.linalg.norm(path[2] - path[0])
        return bool(along >= 0.5 * speed and along >= math.cos(math.pi / 6) * distance)

    def reset(self) -> None:
        """Forget all frames, and the borders that the object came to."""
        super().reset()
        self._heading, self._touched = 1, 0

    def undefined(self) -> str:
        """Why no frame could be measured."""
        return self.needs_caption() if self.caption is None else super().undefined()
