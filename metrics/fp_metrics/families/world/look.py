"""Clarity and aesthetic of the world's frames."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.families.plain import picture as plain
from fp_metrics.functional.colour import luma
from fp_metrics.functional.fidelity import energy_agreement
from fp_metrics.functional.sharpness import NORMAL_MEDIAN, tenengrad


class RenderSharpness(Estimator):
    """Gradient energy against the true render, less the noise on the background; 1 for the true video.

    Only the energy of the whole frame is compared with the render, so an object at a wrong place costs
    nothing. Noise is the robust standard deviation of the luma's error against the background; a constant
    cast is not noise.
    """

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "world/render-sharpness"
    family: ClassVar[str] = "world"
    needs_truth: ClassVar[bool] = True
    noise: ClassVar[float] = 0.05
    """Standard deviation at which the noise factor is a half."""

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """``sqrt(min / max)`` of the gradient energies times ``noise / (noise + s)``."""
        truth = self.about.truth
        assert truth is not None
        frame, background = window[0], truth.background(position)
        grey, true, empty = (luma(image[None]) for image in (frame, truth.frame(position), background))
        error = (grey - empty).flatten()
        # a robust spread: the object, wherever it is, covers less than half of the frame
        spread = float((error - error.median()).abs().median()) / NORMAL_MEDIAN
        agreement = float(energy_agreement(tenengrad(grey), tenengrad(true)))
        return agreement * self.noise / (self.noise + spread)


class ColourfulContrast(plain.ColourfulContrast):
    """Colourfulness and contrast, the same hand-made measure as in the plain family."""

    name: ClassVar[str] = "world/colourfulness-contrast"
    family: ClassVar[str] = "world"
