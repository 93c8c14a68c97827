"""How much moves: DIS flow between frames about an eighth of a second apart."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.families.dynamic_degree import DynamicDegree, SampledPairs, TopMotion
from fp_metrics.functional.flow import LEAST_SIDE, grey_flow, grey_picture, top_motion
from fp_metrics.functional.vbench import SAMPLED_FPS
from fp_metrics.observer import Observer, Unmeasurable

SHORTER_SIDE = 256
"""Pixels: what VBench's threshold of 6 pixels is meant for, and a sixth of the time that 720 lines take."""


class DisMotion(SampledPairs):
    """The largest motions between frames ``round(fps / 8)`` apart."""

    settings: ClassVar[dict[str, Any]] = {
        "shorter_side": SHORTER_SIDE,
        "preset": "medium",
        "share": 0.05,
        "frames_per_second": SAMPLED_FPS,
    }

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """The grey picture of the frame, uint8 ``(h, w)``, its shorter side at most 256 pixels.

        Raises:
            Unmeasurable: for frames that DIS cannot compare.
        """
        picture = grey_picture(frame, SHORTER_SIDE)
        if min(picture.shape) < LEAST_SIDE:
            height, width = frame.shape[-2:]
            raise Unmeasurable(
                f"DIS flow needs frames of at least {LEAST_SIDE}x{LEAST_SIDE} pixels, got {height}x{width}"
            )
        return picture

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[TopMotion]:
        """The motion from the first to the last frame of each window."""
        seen = []
        for first, *_, last in windows:
            seen.append(TopMotion(float(top_motion(grey_flow(first, last))), *first.shape))
        return seen


class DisTopFlow(Estimator):
    """Mean of the largest 5 % of the flow magnitudes; 0 for a frozen video.

    Motion is taken as even between two sampled frames: what rounding makes of an eighth of a second (3 frames
    at 25 per second are 0.12 s) is scaled out, so that videos of different rates can be compared.
    """

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "offline/dis-top5-flow"
    family: ClassVar[str] = "offline"
    unit: ClassVar[str] = "% of the shorter side per 1/8 s, at least 0"
    higher_is_better = None  # how much moves is no quality
    observer: ClassVar[type[Observer]] = DisMotion

    def measure(self, window: Sequence[TopMotion], position: int) -> float:
        """The motion over the shorter side, per eighth of a second."""
        eighths = self._observer.every / (self.about.fps / SAMPLED_FPS)
        return window[0].percent / eighths


class DisDynamicDegree(DynamicDegree):
    """VBench's dynamic degree with DIS in the place of RAFT: whether enough pairs of frames move enough."""

    name: ClassVar[str] = "offline/dis-dynamic-degree"
    family: ClassVar[str] = "offline"
    observer: ClassVar[type[Observer]] = DisMotion
