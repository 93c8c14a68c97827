"""Dynamic degree as VBench's: RAFT flow between frames an eighth of a second apart."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.flow import top_motion
from fp_metrics.functional.vbench import (
    LEAST_SAMPLED,
    SAMPLED_FPS,
    dynamic_interval,
    dynamic_threshold,
    is_dynamic,
)
from fp_metrics.networks.raft import ARTIFACT, ITERATIONS, LEAST_SIDE, raft_flow, raft_large
from fp_metrics.observer import About, Observer, Unmeasurable


class Motion(NamedTuple):
    """What moves between two frames.

    Attributes:
        top: mean of the largest 5 % of the flow magnitudes, pixels.
        height: of the frames.
        width: of the frames.
    """

    top: float
    height: int
    width: int


class RaftMotion(Observer):
    """The largest motions between frames about an eighth of a second apart."""

    weights: ClassVar[tuple[str, ...]] = (ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {
        "iterations": ITERATIONS,
        "share": 0.05,
        "frames_per_second": SAMPLED_FPS,
    }

    def __init__(self, about: About) -> None:
        super().__init__(about)
        self.every = dynamic_interval(about.fps)
        self.span = self.every + 1

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[Motion]:
        """The motion from the first to the last frame of each window.

        Raises:
            Unmeasurable: for frames that RAFT cannot compare.
        """
        first, last = (torch.stack([window[index] for window in windows]) for index in (0, -1))
        height, width = first.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise Unmeasurable(
                f"RAFT needs frames of at least {LEAST_SIDE}x{LEAST_SIDE} pixels, got {height}x{width}"
            )
        flows = raft_flow(raft_large(first.device), first, last)
        return [Motion(float(top_motion(flow)), height, width) for flow in flows]


class RaftTopFlow(Estimator):
    """How much moves, as a continuous figure: VBench's dynamic degree counts where it exceeds 600 / 256 %."""

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "paper/raft-top5-flow"
    family: ClassVar[str] = "paper"
    unit: ClassVar[str] = "% of the shorter side between frames about 1/8 s apart, at least 0"
    observer: ClassVar[type[Observer]] = RaftMotion

    def measure(self, window: Sequence[Motion], position: int) -> float:
        """The largest motions over the frame's shorter side."""
        motion = window[0]
        return 100 * motion.top / min(motion.height, motion.width)


class RaftDynamicDegree(Estimator):
    """The paper's dynamic degree: whether enough pairs of sampled frames move enough.

    A pair's value is 1 where its motion exceeds the threshold, else 0; so is the video's.

    Attributes:
        vbench_compat: judge two sampled frames too; the public code calls them dynamic whatever they show.
    """

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "paper/raft-dynamic-degree"
    family: ClassVar[str] = "paper"
    unit: ClassVar[str] = "1 where it moves, else 0"
    observer: ClassVar[type[Observer]] = RaftMotion
    vbench_compat: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.vbench_compat:
            self.least_frames = max(self.least_frames, (LEAST_SAMPLED - 1) * self._observer.every + 1)

    def measure(self, window: Sequence[Motion], position: int) -> float:
        """1 where the motion exceeds the threshold for frames of this size."""
        motion = window[0]
        return float(motion.top > dynamic_threshold(motion.height, motion.width))

    def aggregate(self, values: NDArray[np.float64]) -> float:
        """1 where enough of the pairs move."""
        return float(is_dynamic(values.tolist(), vbench_compat=self.vbench_compat))
