"""Clarity and aesthetic of single frames."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.colour import colourful_contrast, luma
from fp_metrics.functional.sharpness import denoised_sharpness


class DenoisedSharpness(Estimator):
    """Sobel sharpness with the noise's share taken out and its presence penalised.

    Falls with blur and with noise. It depends on the scene as much as on its quality: compare it within a
    video (drift) or over the same prompts.
    """

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "plain/denoised-sharpness"
    family: ClassVar[str] = "plain"

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """`denoised_sharpness` of the frame's luma."""
        return float(denoised_sharpness(luma(window[0][None])))


class ColourfulContrast(Estimator):
    """Colourfulness and contrast, a hand-made stand-in for an aesthetic score.

    Falls as a picture washes out.
    """

    score: ClassVar[Score] = "aesthetic"
    name: ClassVar[str] = "plain/colourfulness-contrast"
    family: ClassVar[str] = "plain"

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """`colourful_contrast` of the frame."""
        return float(colourful_contrast(window[0][None]))
