"""What the probe reads, compared with what the caption says."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fp_metrics.estimator import Score
from fp_metrics.families.probe.sight import ProbeEstimator, Reading


class CaptionReadback(ProbeEstimator):
    """Share of the caption's attributes that is read back: presence, shape, colour, texture, direction.

    Presence is a must: 0 where the object vanished. Shape, colour and texture are the likeliest of the middle
    frame. Direction: the centre moves along the caption's axis, within 30 degrees, by at least a quarter of
    the caption's speed; it is left out where the caption says that the camera moves. How fast it is, is
    dynamic's.
    """

    score: ClassVar[Score] = "semantic"
    name: ClassVar[str] = "probe/caption-readback"
    unit: ClassVar[str] = "share of attributes, [0, 1]"
    window: ClassVar[int] = 3
    figures: ClassVar[tuple[str, ...]] = (
        "presence_accuracy",
        "shape_accuracy",
        "colour_accuracy",
        "texture_accuracy",
    )

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
            right.append(_moves_along(window, said.direction, said.speed))
        return (1 + sum(right)) / (1 + len(right))

    def undefined(self) -> str:
        """Why no frame could be measured."""
        return self.needs_caption() if self.caption is None else super().undefined()


def _moves_along(window: Sequence[Reading], direction: tuple[float, float], speed: float) -> bool:
    moved = np.array(window[2].centre) - np.array(window[0].centre)
    along = abs(float(moved @ np.array(direction)))
    return along >= 0.5 * speed and along >= math.cos(math.pi / 6) * float(np.linalg.norm(moved))
