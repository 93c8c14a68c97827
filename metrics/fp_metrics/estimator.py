"""The estimator interface: a torchmetrics class that only keeps state over pure functions.

An estimator slides a window of `span` consecutive frames along a video. `observe` turns a frame into what the
window holds (by default the frame itself), `measure` turns a full window into one number. Frames are taken
one by one, so a video given in chunks of any size yields the same bits as the whole video at once.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor

from fp_metrics.series_metric import SeriesMetric, check_frames
from fp_metrics.truth import WorldTruth

Score = Literal["clarity", "aesthetic", "motion", "dynamic", "semantic", "anatomy", "identity"]
SCORES: tuple[Score, ...] = get_args(Score)
"""The seven scores, in the order of the paper's tables."""


class Estimator(SeriesMetric):
    """One way to measure one of the seven scores.

    Args:
        truth: ground truth of a synthetic world; required where `needs_truth`, ignored elsewhere.
        **kwargs: passed to `torchmetrics.Metric` (process group, sync function, ...).

    Attributes:
        score: which of the seven scores it estimates.
        family: the family whose figures may share a column.
        needs_truth: whether it can only be built with a `WorldTruth`.
        local: whether a value depends on its own window only. The drift of such an estimator is a slice of
            its series; any other one is run again on the segments alone.
    """

    score: ClassVar[Score]
    family: ClassVar[str]
    needs_truth: ClassVar[bool] = False
    local: ClassVar[bool] = True

    def __init__(self, truth: WorldTruth | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.needs_truth and truth is None:
            raise ValueError(f"{self.name} compares with a known world: got truth=None, pass a WorldTruth")
        self.truth = truth
        self._window: list[Any] = []
        self._last: int | None = None

    def observe(self, frame: Tensor, position: int) -> Any:
        """What the window keeps of a frame.

        It depends on nothing but its arguments and the truth, so estimators that inherit one `observe` share
        what it sees (`score_video` looks once).

        Args:
            frame: float32 ``(3, h, w)`` in [0, 1].
            position: its index in the video.
        """
        return frame

    @abstractmethod
    def measure(self, window: Sequence[Any], position: int) -> float:
        """One value from `span` consecutive observations; NaN where undefined.

        Args:
            window: the observations, oldest first.
            position: the index of the middle frame (of a pair: the later one).
        """

    def update(
        self,
        frames: Tensor,
        positions: Sequence[int] | None = None,
        observed: Sequence[Any] | None = None,
    ) -> None:
        """Take the next frames of the video.

        Args:
            frames: float32 ``(n, 3, h, w)`` in [0, 1], RGB.
            positions: their indices in the video; by default they follow the frames taken so far. Where
                indices are not consecutive, no value looks across the gap.

            observed: what `observe` returns for these frames, if it is known already.

        Raises:
            ValueError: for another shape, type or range, or positions or observations of another number.
        """
        check_frames(frames)
        first = 0 if self._last is None else self._last + 1
        positions = range(first, first + len(frames)) if positions is None else positions
        for what, given in (("positions", positions), ("observations", observed)):
            if given is not None and len(given) != len(frames):
                raise ValueError(f"got {len(given)} {what} for {len(frames)} frames; give one per frame")
        values, middles = [], []
        for row, position in enumerate(positions):
            if self._last is not None and position != self._last + 1:
                self._window.clear()
            self._last = int(position)
            self._window.append(self.observe(frames[row], self._last) if observed is None else observed[row])
            if len(self._window) == self.span:
                middles.append(self._last - self.span + 1 + self.span // 2)
                values.append(self.measure(tuple(self._window), middles[-1]))
                del self._window[0]
        self.keep(values, middles, len(frames))

    def look(self, frames: Tensor, positions: Sequence[int]) -> list[Any]:
        """`observe` each of ``(n, 3, h, w)`` frames."""
        return [self.observe(frame, position) for frame, position in zip(frames, positions, strict=True)]

    def reset(self) -> None:
        """Forget all frames."""
        super().reset()
        self._window = []
        self._last = None
