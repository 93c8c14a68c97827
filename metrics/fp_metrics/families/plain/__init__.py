"""Weight-free estimators for any video."""

from fp_metrics.estimator import Estimator
from fp_metrics.families.plain.consistency import HogColourToFirst
from fp_metrics.families.plain.movement import DisMiddleFrame, DisTopFlow
from fp_metrics.families.plain.picture import ColourfulContrast, DenoisedSharpness
from fp_metrics.families.plain.undefined import UndefinedAnatomy, UndefinedSemantic

PLAIN: dict[str, type[Estimator]] = {
    estimator.name: estimator
    for estimator in (
        DenoisedSharpness,
        ColourfulContrast,
        DisMiddleFrame,
        DisTopFlow,
        UndefinedSemantic,
        UndefinedAnatomy,
        HogColourToFirst,
    )
}
"""Estimator name -> class, one for each of the seven scores."""
