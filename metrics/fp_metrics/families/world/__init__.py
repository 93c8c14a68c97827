"""Estimators for videos of a synthetic world, against its ground truth."""

from fp_metrics.estimator import Estimator
from fp_metrics.families.world.look import ColourfulContrast, RenderSharpness
from fp_metrics.families.world.meaning import CaptionReadback, LookAgainstFirst, ShapeIou
from fp_metrics.families.world.path import CentreSmoothness, SpeedReached

WORLD: dict[str, type[Estimator]] = {
    estimator.name: estimator
    for estimator in (
        RenderSharpness,
        ColourfulContrast,
        CentreSmoothness,
        SpeedReached,
        CaptionReadback,
        ShapeIou,
        LookAgainstFirst,
    )
}
"""Estimator name -> class, one for each of the seven scores."""
