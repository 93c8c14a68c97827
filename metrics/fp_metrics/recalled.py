"""What a video of a still scene recalls: its pixels, and its objects as the probe reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_metrics.families.probe.sight import ProbeSight, Reading
from fp_metrics.observer import About
from fp_metrics.returning import PlaceMemory
from fp_metrics.returns import Return
from fp_metrics.truth import MARGIN, SceneObject, SceneTruth, grown

WHOLE = 0.95
"""An object of which this share is in sight is whole; what lies beside a curtain's soft edge is not."""

AWAY = 0.25
"""An object of which less than this share is in sight is hidden."""

_REACH = 1.5
"""Radii around an object's centre that the probe is shown; its true outline would tell the shape."""


class SceneMemory:
    """The last look of every pixel of a still scene, and of each of its objects.

    Objects are parts of the place: nothing moves. Pixels are compared with how they last looked (place) and,
    where they were shown truly before, with the truth (recall).

    Args:
        truth: of the scene.
        shown: of each frame how many frames at the beginning of the true video it was made from: the given
            ones of what a model makes from its own history, all before the frame's section of what it makes
            from true history. What was in sight in one of them was shown truly. More than the frame's index:
            it is itself given, and compared with nothing. By default all frames before it, as for the true
            video.
    """

    def __init__(self, truth: SceneTruth, shown: Sequence[int] | None = None) -> None:
        self.truth = truth
        self.shown = range(truth.length) if shown is None else shown
        self._place = PlaceMemory(truth.view, (truth.frames.shape[1], truth.frames.shape[2]))
        self._objects = [ObjectMemory(truth, index) for index in range(len(truth.objects))]
        self._told: list[Return] = []

    def take(self, frame: Tensor, position: int) -> None:
        """Compare what has come back, then remember what is in sight."""
        clear, shown = self.truth.clear[position], self.shown[position]
        self._place.take(frame, clear, position, true=self.truth.frame(position), shown=shown)
        for known in self._objects:
            gap = known.gap(position, shown)
            if gap is not None:
                right = tells(known.picture(frame, position), known.thing)
                self._told.append(Return("told", gap, float(right), float("nan")))

    def compute(self) -> list[Return]:
        """What has come back so far."""
        return [*self._place.compute(), *self._told]


@dataclass
class ObjectMemory:
    """When an object of a still scene was first and last whole, and whether it was hidden since."""

    truth: SceneTruth
    index: int
    first: int = -1
    last: int = -1
    hidden: bool = False

    @property
    def thing(self) -> SceneObject:
        """What is known of the object."""
        return self.truth.objects[self.index]

    def gap(self, position: int, shown: int) -> int | None:
        """Frames since it was whole, where it comes back now and was shown truly."""
        truth, thing = self.truth, self.thing
        clear = truth.clear[position]
        share = int((truth.seen(thing.mask, position) & clear).sum()) / thing.area
        self.hidden |= share < AWAY
        if share < WHOLE:
            return None
        back = self.hidden and 0 <= self.first < shown <= position
        gap = position - self.last - 1 if back else None
        self.first = position if self.first < 0 else self.first
        self.last, self.hidden = position, False
        return gap

    def picture(self, frame: Tensor, position: int) -> Tensor:
        """The frame's pixels around the object; elsewhere the true background, so it is alone there."""
        truth, thing = self.truth, self.thing
        others = [other.mask for other in truth.objects if other is not thing]
        height, width = thing.mask.shape
        y, x = torch.arange(height)[:, None] - thing.centre[1], torch.arange(width) - thing.centre[0]
        near = (x.square() + y.square()) < (_REACH * thing.radius) ** 2
        if others:
            near &= ~grown(torch.stack(others), MARGIN).any(0) | thing.mask
        shown = truth.seen(near, position) & truth.clear[position]
        return torch.where(shown, frame, truth.seen(truth.empty, position))


def tells(picture: Tensor, thing: SceneObject) -> bool:
    """Whether the probe reads an object's shape, colour and texture in a picture, float32 ``(3, h, w)``."""
    sight = ProbeSight(About())
    read: Reading = sight.look([[sight.keep(picture, 0)]], [0])[0]
    return read.seen and (read.shape, read.colour, read.texture) == (thing.shape, thing.colour, thing.texture)
