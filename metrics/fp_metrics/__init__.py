"""Scores of videos and their drift: iterators of frames in, figures out.

Knows nothing of how a video was made and never decodes one.
"""

from fp_metrics.companions import COMPANIONS
from fp_metrics.drift import (
    Drift,
    Drifted,
    DriftResult,
    DriftSummary,
    Segments,
    segment,
    summarise_drift,
)
from fp_metrics.estimator import SCORES, Estimator, Score
from fp_metrics.exposure_bias import ExposureBias, exposure_bias
from fp_metrics.families import FAMILIES
from fp_metrics.flags import Flags
from fp_metrics.forgetting import ForgettingMeter, summarise_forgetting
from fp_metrics.observer import About, Observer, Unmeasurable
from fp_metrics.series import Series
from fp_metrics.significance import effect_size, equivalence, paired_permutation, smallest_detectable
from fp_metrics.statistics import Interval, cluster_interval, holm, nested_interval, paired_interval
from fp_metrics.suite import VideoScores, WrongLength, choose, protocol, score_video
from fp_metrics.truth import WorldTruth

__all__ = [
    "COMPANIONS",
    "FAMILIES",
    "SCORES",
    "About",
    "Drift",
    "DriftResult",
    "DriftSummary",
    "Drifted",
    "Estimator",
    "ExposureBias",
    "Flags",
    "ForgettingMeter",
    "Interval",
    "Observer",
    "Score",
    "Segments",
    "Series",
    "Unmeasurable",
    "VideoScores",
    "WorldTruth",
    "WrongLength",
    "choose",
    "cluster_interval",
    "effect_size",
    "equivalence",
    "exposure_bias",
    "holm",
    "nested_interval",
    "paired_interval",
    "paired_permutation",
    "protocol",
    "score_video",
    "segment",
    "smallest_detectable",
    "summarise_drift",
    "summarise_forgetting",
]
