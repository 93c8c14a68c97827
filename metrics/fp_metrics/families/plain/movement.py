"""Motion smoothness and dynamic degree by DIS optical flow."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.flow import dis_flow, middle_frame_agreement, top_motion


class DisMiddleFrame(Estimator):
    """How well each frame is predicted from its two neighbours by flow.

    Falls with jerks, flicker and shuffling. A frozen video reads 1: read the frozen flag beside it.
    """

    score: ClassVar[Score] = "motion"
    name: ClassVar[str] = "plain/dis-middle-frame"
    family: ClassVar[str] = "plain"
    window: ClassVar[int] = 3

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """`middle_frame_agreement` of the triple."""
        return float(middle_frame_agreement(*window))


class DisTopFlow(Estimator):
    """Mean of the largest 5 % of the flow magnitudes; 0 for a frozen video."""

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "plain/dis-top5-flow"
    family: ClassVar[str] = "plain"
    unit: ClassVar[str] = "% of the shorter side per frame, at least 0"
    higher_is_better = None  # how much moves is no quality
    window: ClassVar[int] = 2

    def measure(self, window: Sequence[Tensor], position: int) -> float:
        """`top_motion` over the frame's shorter side."""
        first, second = window
        return 100 * float(top_motion(dis_flow(first, second))) / min(first.shape[-2:])
