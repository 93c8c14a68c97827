"""Scores that no weight-free measure can give on any video: undefined, and they say why."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator, Score


class UndefinedSemantic(Estimator):
    """Agreement with the caption cannot be read from pixels without weights or ground truth: always NaN."""

    score: ClassVar[Score] = "semantic"
    name: ClassVar[str] = "plain/no-caption-attributes"
    family: ClassVar[str] = "plain"

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """NaN."""
        return float("nan")

    def undefined(self) -> str:
        """Why."""
        return "needs caption attributes: use a family with ground truth or learned weights"


class UndefinedAnatomy(Estimator):
    """Whether a body or object is well-formed cannot be read without weights or ground truth: always NaN."""

    score: ClassVar[Score] = "anatomy"
    name: ClassVar[str] = "plain/no-known-shape"
    family: ClassVar[str] = "plain"

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """NaN."""
        return float("nan")

    def undefined(self) -> str:
        """Why."""
        return "needs the true shape: use a family with ground truth or learned weights"
