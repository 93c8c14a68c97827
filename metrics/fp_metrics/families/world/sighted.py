"""What all estimators of the world's object share: where it is seen, and whether it is there at all."""

from typing import ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator
from fp_metrics.functional.objects import Sighting, sight
from fp_metrics.observer import Observer
from fp_metrics.truth import WorldTruth

VISIBLE = 0.25
"""An object that shows at most this share of itself has vanished; one that truly shows less is hidden."""


class ObjectSight(Observer):
    """Where the object is seen in each frame, as the difference from the known background."""

    def keep(self, frame: Tensor, position: int) -> Sighting:
        """The sighting of one frame."""
        assert self.about.truth is not None
        return sight(frame, self.about.truth.background(position))


class SightedEstimator(Estimator):
    """Measures what `ObjectSight` sees.

    Where the object should be seen and is not, it has *vanished* and the value is 0. Where it is truly hidden
    (behind the pillar, outside the view), there is nothing to measure and the value is NaN.
    """

    family: ClassVar[str] = "world"
    observer: ClassVar[type[Observer]] = ObjectSight
    needs_truth: ClassVar[bool] = True

    @property
    def world(self) -> WorldTruth:
        """The ground truth."""
        assert self.about.truth is not None
        return self.about.truth

    def hidden(self, position: int) -> bool:
        """Whether the object truly shows too little of itself to be measured."""
        return self.world.visible_area(position) < VISIBLE * self.world.area

    def vanished(self, sighting: Sighting, position: int) -> bool:
        """Whether an object that should be seen is not."""
        return sighting.area <= VISIBLE * self.world.sighting(position).area

    def undefined(self) -> str:
        """Why no frame could be measured."""
        return "the object is truly hidden in all of these frames"
