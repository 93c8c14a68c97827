from .companions import COMPANIONS
from .drift import (
    Drift,
    Drifted,
    DriftResult,
    DriftSummary,
    summarise_drift,
)
from .effects import Effects, effects_of
from .estimator import SCORES, Estimator, Score
from .exposure_bias import ExposureBias, exposure_bias
from .families import FAMILIES, register
from .flags import Flags
from .forgetting import ForgettingMeter
from .intervals import Interval, cluster_interval, holm
from .observer import About, Observer, Unmeasurable
from .returns import summarise_forgetting
from .segments import Segments, segment
from .series import Series
from .significance import effect_size, paired_permutation
from .suite import VideoScores, WrongLength, choose, protocol, score_video
from .truth import SceneObject, SceneTruth, WorldTruth

__all__ = [
    "COMPANIONS",
    "FAMILIES",
    "SCORES",
    "About",
    "Drift",
    "DriftResult",
    "DriftSummary",
    "Drifted",
    "Effects",
    "Estimator",
    "ExposureBias",
    "Flags",
    "ForgettingMeter",
    "Interval",
    "Observer",
    "SceneObject",
    "SceneTruth",
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
    "effects_of",
    "exposure_bias",
    "holm",
    "paired_permutation",
    "protocol",
    "register",
    "score_video",
    "segment",
    "summarise_drift",
    "summarise_forgetting",
]
