"""Estimators for videos of the synthetic world without ground truth: a small network reads them."""

from fp_metrics.estimator import Estimator
from fp_metrics.families.probe.held_out import held_out
from fp_metrics.families.probe.look import ColourfulContrast, EmbeddingToFirst, ReadClarity, WellFormedHead
from fp_metrics.families.probe.meaning import CaptionReadback
from fp_metrics.families.probe.path import CentreSmoothness, SpeedReached
from fp_metrics.families.probe.sight import ProbeEstimator, ProbeSight
from fp_metrics.networks.probe import Probe

__all__ = ["PROBE", "ProbeEstimator", "ProbeSight", "held_out", "read_by"]

PROBE: dict[str, type[Estimator]] = {
    estimator.name: estimator
    for estimator in (
        ReadClarity,
        ColourfulContrast,
        CentreSmoothness,
        SpeedReached,
        CaptionReadback,
        WellFormedHead,
        EmbeddingToFirst,
    )
}
"""Estimator name -> class, one for each of the seven scores."""


def read_by(probe: Probe) -> dict[str, type[Estimator]]:
    """The same estimators, looking through another probe than the shipped one."""

    class OtherSight(ProbeSight):
        @classmethod
        def network(cls) -> Probe:
            return probe

    return {
        name: type(kind.__name__, (kind,), {"observer": OtherSight})
        if issubclass(kind, ProbeEstimator)
        else kind
        for name, kind in PROBE.items()
    }
