"""Aesthetic: no package carries a learned estimator, so this one is made by hand, and its name says so."""

from typing import ClassVar

from fp_metrics.families.plain.picture import ColourfulContrast


class HandMadeAesthetic(ColourfulContrast):
    """Colourfulness and contrast, hand-made, nothing learned: the measure of the plain family."""

    name: ClassVar[str] = "offline/hand-made-colour-contrast"
    family: ClassVar[str] = "offline"
