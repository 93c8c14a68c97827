"""Dynamic degree as VBench's: RAFT flow between frames an eighth of a second apart."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.families.dynamic_degree import DynamicDegree, SampledPairs, TopMotion
from fp_metrics.functional.flow import top_motion
from fp_metrics.functional.vbench import SAMPLED_FPS
from fp_metrics.networks.raft import ARTIFACT, ITERATIONS, LEAST_SIDE, raft_flow, raft_large
from fp_metrics.observer import Observer, Unmeasurable


class RaftMotion(SampledPairs):
    """The largest motions between frames about an eighth of a second apart."""

    weights: ClassVar[tuple[str, ...]] = (ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {
        "iterations": ITERATIONS,
        "share": 0.05,
        "frames_per_second": SAMPLED_FPS,
    }

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[TopMotion]:
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
        return [TopMotion(float(top_motion(flow)), height, width) for flow in flows]


class RaftTopFlow(Estimator):
    """How much moves, as a continuous figure: VBench's dynamic degree counts where it exceeds 600 / 256 %."""

    score: ClassVar[Score] = "dynamic"
    name: ClassVar[str] = "paper/raft-top5-flow"
    family: ClassVar[str] = "paper"
    unit: ClassVar[str] = "% of the shorter side between frames about 1/8 s apart, at least 0"
    higher_is_better = None  # how much moves is no quality
    observer: ClassVar[type[Observer]] = RaftMotion

    def measure(self, window: Sequence[TopMotion], position: int) -> float:
        """The largest motions over the frame's shorter side."""
        return window[0].percent


class RaftDynamicDegree(DynamicDegree):
    """The paper's dynamic degree: whether enough pairs of sampled frames move enough."""

    name: ClassVar[str] = "paper/raft-dynamic-degree"
    family: ClassVar[str] = "paper"
    observer: ClassVar[type[Observer]] = RaftMotion
