"""What all estimators of the world's object share: where it is seen, and whether it is there at all."""

from typing import ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator
from fp_metrics.functional.objects import Sighting, sight
from fp_metrics.truth import WorldTruth

VISIBLE = 0.25
"""An object that shows at most this share of itself has vanished; one that truly shows less is hidden."""


class SightedEstimator(Estimator):
    """Looks for the object in each frame as the difference from the known background.

    Where the object should be seen and is not, it has *vanished* and the value is 0. Where it is truly hidden
    (behind the pillar, outside the view), there is nothing to measure and the value is NaN.
    """

    family: ClassVar[str] = "world"
    needs_truth: ClassVar[bool] = True

    @property
    def world(self) -> WorldTruth:
        """The ground truth."""
        assert self.truth is not None
        return self.truth

    def observe(self, frame: Tensor, position: int) -> Sighting:
        """Where the object is seen."""
        return sight(frame, self.world.background(position))

    def hidden(self, position: int) -> bool:
        """Whether the object truly shows too little of itself to be measured."""
        return self.world.visible_area(position) < VISIBLE * self.world.area

    def vanished(self, sighting: Sighting, position: int) -> bool:
        """Whether an object that should be seen is not."""
        return sighting.area <= VISIBLE * self.world.sighting(position).area

    def undefined(self) -> str:
        """Why no frame could be measured."""
        return "the object is truly hidden in all of these frames"
