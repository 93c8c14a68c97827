from .companions import COMPANIONS
from .drift import (
    Drift,
    Drifted,
    DriftResult,
    DriftSummary,
    Segments,
    segment,
    summarise_drift,
)
from .estimator import SCORES, Estimator, Score
from .exposure_bias import ExposureBias, exposure_bias
from .families import FAMILIES
from .flags import Flags
from .forgetting import ForgettingMeter, summarise_forgetting
from .observer import About, Observer, Unmeasurable
from .series import Series
from .significance import effect_size, equivalence, paired_permutation, smallest_detectable
from .statistics import Interval, cluster_interval, holm, nested_interval, paired_interval
from .suite import VideoScores, WrongLength, choose, protocol, score_video
from .truth import WorldTruth

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
