"""Drift of any estimator: score of the first 15 % of a video against that of the last 15 %.

Source: "Frame Context Packing and Drift Prevention in Next-Frame-Prediction Video Diffusion Models", arXiv
2504.12626, section "drifting metrics": ``|M(first 15 %) - M(last 15 %)|``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.wrappers.abstract import WrapperMetric

from fp_metrics.estimator import Estimator
from fp_metrics.intervals import Interval, cluster_interval
from fp_metrics.observer import About, Watch, planned_starts
from fp_metrics.segments import Order, Segments
from fp_metrics.series import Series
from fp_metrics.series_metric import SeriesMetric, check_frames


@dataclass(frozen=True)
class DriftResult:
    """One video's drift in one score.

    Attributes:
        start: score of the first segment.
        end: score of the last segment.
        frames: frames per segment.
        order: temporal or generation.
        reason: why the drift is undefined; None when it is defined.
    """

    start: float
    end: float
    frames: int
    order: Order = "temporal"
    reason: str | None = None

    @property
    def signed(self) -> float:
        """``end - start``; NaN when either is undefined."""
        return self.end - self.start

    @property
    def absolute(self) -> float:
        """``|end - start|``, the paper's figure for one video."""
        return abs(self.signed)


@dataclass(frozen=True, eq=False)
class Drifted:
    """An estimator's series and its drift by order."""

    series: Series
    drift: Mapping[Order, DriftResult]


@dataclass(frozen=True)
class DriftSummary:
    """Drift over several videos; figures are in the score's unit.

    Attributes:
        mean_absolute: mean of ``|d|``, the paper's figure. Biased upward by the segments' own noise.
        absolute_mean: ``|mean d|``.
        signed: mean of d with its confidence interval, clusters resampled.
        floor: the same figures of the ground-truth videos: what no drift at all reads; None if not given.
        videos: videos with a defined drift.
        undefined: videos without.
    """

    mean_absolute: float
    absolute_mean: float
    signed: Interval
    floor: "DriftSummary | None"
    videos: int
    undefined: int

    @property
    def floor_mean_absolute(self) -> float:
        """`mean_absolute` of the ground-truth videos; NaN if they were not given."""
        return float("nan") if self.floor is None else self.floor.mean_absolute


def consecutive(frames: Sequence[int]) -> list[range]:
    """Ascending frame indices as runs without gaps."""
    runs: list[range] = []
    for frame in frames:
        if runs and frame == runs[-1].stop:
            runs[-1] = range(runs[-1].start, frame + 1)
        else:
            runs.append(range(frame, frame + 1))
    return runs


class Drift(WrapperMetric):
    """Wraps any estimator: its series over the whole video and its drift between segments.

    The estimator runs on each segment alone, as the paper does. Where its values are local that equals a
    slice of the whole series, so it is not run again. Each process measures videos of its own: nothing is
    gathered.

    Args:
        estimator: the class to wrap.
        segments: one pair of segments per order, all of the same video; one of them reaches its end.
        about: passed to the estimator.

    Attributes:
        watch: feeds the estimator's observer; wrappers of estimators that share one may share it.
    """

    def __init__(
        self, estimator: type[Estimator], segments: Sequence[Segments], about: About | None = None
    ) -> None:
        super().__init__()
        self.segments = tuple(segments)
        self.whole = estimator(about, sync_on_compute=False)
        self._pieces = [frozenset(piece) for s in self.segments for piece in (s.start, s.end)]
        self.parts = (
            nn.ModuleList()
            if estimator.local
            else nn.ModuleList(estimator(about, sync_on_compute=False) for _ in self._pieces)
        )
        self._taken = 0
        self.watch = self._fresh_watch()

    def _fresh_watch(self) -> Watch:
        """For an observer that sees each segment as it would see it alone."""
        runs = [run for piece in self._pieces for run in consecutive(sorted(piece))]
        length, observer = max(run.stop for run in runs), self.whole.observer(self.whole.about)
        starts = planned_starts(length, runs, observer.span, observer.every)
        return Watch(observer, starts.__contains__)

    def _part(self, index: int) -> Estimator:
        part = self.parts[index]
        assert isinstance(part, Estimator)
        return part

    def update(self, frames: Tensor) -> None:
        """Take the next frames, float32 ``(n, 3, h, w)`` in [0, 1]."""
        check_frames(frames)
        positions = range(self._taken, self._taken + len(frames))
        self.take(self.watch.take(frames, positions), positions)

    def take(self, observations: Mapping[int, Any], frames: Sequence[int]) -> None:
        """Take what the estimator's observer has seen in the next frames, as `Estimator.take` does."""
        self.whole.take(observations, frames)
        self._taken += len(frames)
        span = self.whole.observer_span
        for part, piece in zip(self.parts, self._pieces, strict=False):
            assert isinstance(part, Estimator)
            seen = {
                start: observation
                for start, observation in observations.items()
                if piece.issuperset(range(start, start + span))
            }
            part.take(seen, [frame for frame in frames if frame in piece])

    def compute(self) -> Drifted:
        """The series so far and the drift of every order."""
        series = self.whole.compute()
        drift: dict[Order, DriftResult] = {}
        for index, segments in enumerate(self.segments):
            if self.whole.local:
                start, end = (
                    slice_series(self.whole, series, part) for part in (segments.start, segments.end)
                )
            else:
                start, end = (self._part(2 * index + side).compute() for side in (0, 1))
            drift[segments.order] = compare(start, end, len(segments.start), segments.order)
        return Drifted(series, drift)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Refuse: the first and last frames of pieces are not those of the video.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"drift of {self.whole.name}: got another piece of the video, expected all of it in one metric; "
            "average the drifts of several videos with summarise_drift"
        )

    def reset(self) -> None:
        """Forget all frames."""
        super().reset()
        self._taken = 0
        self.watch = self._fresh_watch()
        for estimator in (self.whole, *(self._part(index) for index in range(len(self.parts)))):
            estimator.reset()


def slice_series(estimator: SeriesMetric, series: Series, frames: Sequence[int]) -> Series:
    """The series that a local measure would return for some frames of the video alone."""
    kept = series.inside(frames)
    return estimator.summarise(series.values[kept], series.positions[kept], len(frames))


def compare(start: Series, end: Series, frames: int, order: Order = "temporal") -> DriftResult:
    """Drift between the scores of two segments, NaN with the reason of the undefined one."""
    sides = {"first segment": start.reason, "last segment": end.reason}
    if start.reason == end.reason:
        sides = {"both segments": start.reason}
    reason = "; ".join(f"{side}: {why}" for side, why in sides.items() if why)
    return DriftResult(start.score, end.score, frames, order, reason or None)


def summarise_drift(
    results: Sequence[DriftResult],
    *,
    clusters: Sequence[object] | None = None,
    floor: Iterable[DriftResult] = (),
    floor_clusters: Sequence[object] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> DriftSummary:
    """The drift of an arm: mean |d|, |mean d| and the signed mean with its interval.

    Args:
        results: one per video; undefined ones are counted and left out.
        clusters: what videos belong together (their prompt), one per result; by default each video is its
            own.
        floor: the same drift measured on ground-truth videos.
        floor_clusters: their prompts; by default each is its own.
        level: of the interval.
        seed: of the bootstrap.
    """
    signed = np.array([result.signed for result in results], dtype=np.float64)
    defined = np.isfinite(signed)
    noise = list(floor)
    nan = float("nan")
    return DriftSummary(
        mean_absolute=float(np.abs(signed[defined]).mean()) if defined.any() else nan,
        absolute_mean=float(abs(signed[defined].mean())) if defined.any() else nan,
        signed=cluster_interval(signed, clusters, level=level, seed=seed),
        floor=summarise_drift(noise, clusters=floor_clusters, level=level, seed=seed) if noise else None,
        videos=int(defined.sum()),
        undefined=int((~defined).sum()),
    )
