"""Sources of training histories, a file per source; importing this registers the built-in ones."""

from fp_lab.training.history.augmented import AugmentedHistory
from fp_lab.training.history.recycled import RecycledHistory
from fp_lab.training.history.resampled import ResampledHistory
from fp_lab.training.history.reversed import ReversedHistory
from fp_lab.training.history.rollout import RolloutHistory
from fp_lab.training.history.source import HistorySource, Prediction, TrainingStep, Videos, make_source
from fp_lab.training.history.true import TrueHistory

__all__ = [
    "AugmentedHistory",
    "HistorySource",
    "Prediction",
    "RecycledHistory",
    "ResampledHistory",
    "ReversedHistory",
    "RolloutHistory",
    "TrainingStep",
    "TrueHistory",
    "Videos",
    "make_source",
]
