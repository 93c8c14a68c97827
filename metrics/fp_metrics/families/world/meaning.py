"""Semantic, anatomy and identity of the world's object."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fp_metrics.estimator import Score
from fp_metrics.families.world.sighted import SightedEstimator
from fp_metrics.functional.objects import Sighting, centred, likeness, look_of, nearest_colour, soft_iou


class ShapeIou(SightedEstimator):
    """Overlap of the object's outline with the true one's, both moved to the middle; 0 where it vanished.

    The true outline is the one seen in the true frame, by the same means. Where the object is does not count,
    what it looks like inside does not count: only its shape and size.
    """

    score: ClassVar[Score] = "anatomy"
    name: ClassVar[str] = "world/shape-iou"

    def measure(self, window: Sequence[Sighting], position: int) -> float:
        """`soft_iou` with the true object as it is seen in the true frame."""
        if self.hidden(position):
            return float("nan")
        if self.vanished(window[0], position):
            return 0.0
        seen, true = window[0], self.world.sighting(position)
        return soft_iou(centred(seen.mask, seen.centre), centred(true.mask, true.centre))


class CaptionReadback(SightedEstimator):
    """Share of four attributes of the caption that are read back: presence, colour, texture, direction.

    Presence is a must: 0 where the object vanished. Colour: the caption's colour, in either shade, is the
    most frequent of the palette's. Texture: the share of pixels in the second colour is within 0.2 of that in
    the true frame 0. Direction: the centre moves as the true one does at that time, within 30 degrees, by at
    least a quarter of the caption's speed: as the caption says it starts, and back after a turn. It is left
    out where the true object turns round or is half hidden. Shape is anatomy's, how fast it is, is dynamic's.
    """

    score: ClassVar[Score] = "semantic"
    name: ClassVar[str] = "world/caption-readback"
    unit: ClassVar[str] = "share of attributes, [0, 1]"
    window: ClassVar[int] = 3

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._true_share: float | None = None

    def measure(self, window: Sequence[Sighting], position: int) -> float:
        """Share of attributes read back in the middle frame."""
        frames = range(position - 1, position + 2)
        if any(self.hidden(frame) for frame in frames):
            return float("nan")
        if any(self.vanished(seen, frame) for seen, frame in zip(window, frames, strict=True)):
            return 0.0
        colour, second_share = self._read_colours(window[1].frame, window[1].mask)
        if self._true_share is None:
            true = self.world.sighting(0)
            self._true_share = self._read_colours(true.frame, true.mask)[1]
        right = [colour == self.world.palette.index(self.world.colour)]
        right.append(abs(second_share - self._true_share) <= 0.2)
        if not self.world.turns(position) and all(self.world.whole(frame) for frame in frames):
            right.append(self._moves_as_said(window, position))
        return (1 + sum(right)) / (1 + len(right))

    def _read_colours(self, frame: Tensor, mask: Tensor) -> tuple[int, float]:
        """The palette index of most pixels, and the share of these that show its second colour."""
        truth = self.world
        count = len(truth.palette)
        nearest = nearest_colour(frame[:, mask].T, truth.shades)
        votes = torch.bincount(nearest, minlength=2 * count)
        winner = int((votes[:count] + votes[count:]).argmax())
        return winner, float(votes[count + winner]) / max(1, int(votes[winner] + votes[count + winner]))

    def _moves_as_said(self, window: Sequence[Sighting], position: int) -> bool:
        view = (self.world.offsets[position + 1] - self.world.offsets[position - 1]).numpy()
        moved = np.array(window[2].centre) - np.array(window[0].centre) + view
        along = float(moved @ self.world.heading(position).numpy())
        distance = float(np.linalg.norm(moved))
        return along >= 0.5 * self.world.speed and along >= math.cos(math.pi / 6) * distance


class LookAgainstFirst(SightedEstimator):
    """Likeness of the object to its look in the true frame 0, wherever it is; 0 where it vanished.

    Mean of the Bhattacharyya coefficient of the colour histograms and of the cosine of the cut-outs (RGB
    inside the mask, 0 outside), so colours, texture and outline all count.
    """

    score: ClassVar[Score] = "identity"
    name: ClassVar[str] = "world/look-against-first"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first: tuple[Tensor, Tensor] | None = None

    def measure(self, window: Sequence[Sighting], position: int) -> float:
        """Likeness in one frame."""
        if self.hidden(position):
            return float("nan")
        if self.vanished(window[0], position):
            return 0.0
        if self._first is None:
            self._first = look_of(self.world.sighting(0))
        return likeness(look_of(window[0]), self._first)
