"""Drift of any estimator: score of the first 15 % of a video against that of the last 15 %.

Source: "Frame Context Packing and Drift Prevention in Next-Frame-Prediction Video Diffusion Models", arXiv
2504.12626, section "drifting metrics": ``|M(first 15 %) - M(last 15 %)|``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn
from torchmetrics.wrappers.abstract import WrapperMetric

from fp_metrics.estimator import Estimator
from fp_metrics.series import Series
from fp_metrics.series_metric import SeriesMetric, check_frames
from fp_metrics.statistics import Interval, cluster_interval
from fp_metrics.truth import WorldTruth

FRACTION = 0.15
"""Share of a video that the first and the last segment take."""

Order = Literal["temporal", "generation"]


@dataclass(frozen=True)
class Segments:
    """The frames whose scores are compared.

    Attributes:
        start: frame indices of the first segment, ascending in video time.
        end: frame indices of the last segment, ascending.
        order: whether "first" means in video time or as the frames were made.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]
    order: Order = "temporal"


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
        floor_mean_absolute: `mean_absolute` of the ground-truth videos: what no drift at all reads; NaN if
            not given.
        videos: videos with a defined drift.
        undefined: videos without.
    """

    mean_absolute: float
    absolute_mean: float
    signed: Interval
    floor_mean_absolute: float
    videos: int
    undefined: int


def segment(length: int, order: Sequence[int] | None = None, fraction: float = FRACTION) -> Segments:
    """The first and last ``n = max(1, int(fraction * length))`` frames.

    Args:
        length: frames of the video.
        order: frame indices as they were made; frames that were given are left out. None: video time.
        fraction: share of the video per segment.

    Raises:
        ValueError: for an empty video, or an order with repeated or unknown frames.
    """
    if length < 1:
        raise ValueError(f"a video needs at least 1 frame, got length={length}")
    n = max(1, int(fraction * length))
    if order is None:
        return Segments(tuple(range(n)), tuple(range(length - n, length)))
    if len(set(order)) != len(order) or not all(0 <= index < length for index in order) or not order:
        raise ValueError(f"order must name frames of 0..{length - 1}, each at most once, got {list(order)}")
    return Segments(tuple(sorted(order[:n])), tuple(sorted(order[-n:])), "generation")


class Drift(WrapperMetric):
    """Wraps any estimator: its series over the whole video and its drift between segments.

    The estimator runs on each segment alone, as the paper does. Where its values are local that equals a
    slice of the whole series, so it is not run again.

    Args:
        estimator: the class to wrap.
        segments: one pair of segments per order, all of the same video.
        truth: passed to the estimator.
    """

    def __init__(
        self, estimator: type[Estimator], segments: Sequence[Segments], truth: WorldTruth | None = None
    ) -> None:
        super().__init__()
        self.segments = tuple(segments)
        self.whole = estimator(truth)
        self.parts = nn.ModuleList()
        if not estimator.local:
            self.parts.extend(estimator(truth) for _ in self.segments for _ in ("start", "end"))
        self._taken = 0

    def _part(self, index: int) -> Estimator:
        part = self.parts[index]
        assert isinstance(part, Estimator)
        return part

    def update(self, frames: Tensor, observed: Sequence[Any] | None = None) -> None:
        """Take the next frames, float32 ``(n, 3, h, w)`` in [0, 1].

        Args:
            frames: of the whole video, in its order.
            observed: what the estimator's `look` returns for them, if it is known already.
        """
        check_frames(frames)
        positions = range(self._taken, self._taken + len(frames))
        self._taken += len(frames)
        observed = self.whole.look(frames, positions) if observed is None else observed
        self.whole.update(frames, positions, observed)
        if self.whole.local:
            return
        for index, part in enumerate(part for s in self.segments for part in (s.start, s.end)):
            chosen = [row for row, position in enumerate(positions) if position in set(part)]
            if chosen:
                self._part(index).update(
                    frames[chosen], [positions[row] for row in chosen], [observed[row] for row in chosen]
                )

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

    def reset(self) -> None:
        """Forget all frames."""
        super().reset()
        self._taken = 0
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
    level: float = 0.95,
    seed: int = 0,
) -> DriftSummary:
    """The drift of an arm: mean |d|, |mean d| and the signed mean with its interval.

    Args:
        results: one per video; undefined ones are counted and left out.
        clusters: what videos belong together (their prompt), one per result; by default each video is its
            own.
        floor: the same drift measured on ground-truth videos.
        level: of the interval.
        seed: of the bootstrap.
    """
    signed = np.array([result.signed for result in results], dtype=np.float64)
    defined = np.isfinite(signed)
    noise = np.array([result.absolute for result in floor], dtype=np.float64)
    noise = noise[np.isfinite(noise)]
    nan = float("nan")
    return DriftSummary(
        mean_absolute=float(np.abs(signed[defined]).mean()) if defined.any() else nan,
        absolute_mean=float(abs(signed[defined].mean())) if defined.any() else nan,
        signed=cluster_interval(signed, clusters, level=level, seed=seed),
        floor_mean_absolute=float(noise.mean()) if len(noise) else nan,
        videos=int(defined.sum()),
        undefined=int((~defined).sum()),
    )
