"""The estimator interface: a torchmetrics class that only keeps state over pure functions.

An `Observer` looks at the frames, an estimator turns `window` consecutive observations into one number.
Frames are taken one by one, so a video given in chunks of any size yields the values of the whole video at
once (the same bits, where an observer does not depend on how many windows it is shown at once).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor
from torchmetrics import Metric

from fp_metrics.observer import About, Observer, Watch
from fp_metrics.series_metric import SeriesMetric, check_frames

Score = Literal["clarity", "aesthetic", "motion", "dynamic", "semantic", "anatomy", "identity"]
SCORES: tuple[Score, ...] = get_args(Score)
"""The seven scores, in the order of the paper's tables."""


class Estimator(SeriesMetric):
    """One way to measure one of the seven scores.

    Args:
        about: what is known of the video; its truth is required where `needs_truth`.
        **kwargs: passed to `torchmetrics.Metric` (process group, sync function, ...).

    Attributes:
        score: which of the seven scores it estimates.
        family: the family whose figures may share a column.
        observer: the class that looks at the frames; estimators with the same one share what it sees.
        window: consecutive observations that one value is made of.
        needs_truth: whether it can only be built with a `WorldTruth`.
        weights: artifacts that it loads beside those of its observer.
        settings: what else its values depend on, for the protocol.
        local: whether a value depends on its own window only, or is meant of the whole video. The drift of
            such an estimator is a slice of its series; any other one is run again on the segments alone, and
            is never merged from pieces of a video.
    """

    score: ClassVar[Score]
    family: ClassVar[str]
    observer: ClassVar[type[Observer]] = Observer
    window: ClassVar[int] = 1
    needs_truth: ClassVar[bool] = False
    weights: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[dict[str, Any]] = {}
    local: ClassVar[bool] = True

    def __init__(self, about: About | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.about = About() if about is None else about
        if self.needs_truth and self.about.truth is None:
            raise ValueError(f"{self.name} compares with a known world: got truth=None, pass a WorldTruth")
        self._observer = self.observer(self.about)
        self.every = self._observer.every
        self.span = self._observer.span + (self.window - 1) * self.every
        self.least_frames = max(self.least_frames, self.span)
        self.remembers, self.by_position = self.remembers or not self.local, self.needs_truth
        self._watch = Watch(self._observer)
        self._held: dict[int, Any] = {}

    @classmethod
    def accuracy(cls) -> str | None:
        """How good it is where the truth is known, in words; None where nobody has measured it."""
        return None

    @classmethod
    def artifacts(cls) -> tuple[str, ...]:
        """All weights that it needs."""
        return (*cls.observer.weights, *cls.weights)

    @property
    def observer_span(self) -> int:
        """Frames that one observation looks at."""
        return self._observer.span

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here (an optional package is missing), and what to do; else None."""
        return None

    @abstractmethod
    def measure(self, window: Sequence[Any], position: int) -> float:
        """One value from `window` observations; NaN where undefined.

        Args:
            window: the observations, oldest first.
            position: the index of the middle frame (of a pair: the later one).
        """

    def update(self, frames: Tensor, positions: Sequence[int] | None = None) -> None:
        """Take the next frames of the video.

        Args:
            frames: float32 ``(n, 3, h, w)`` in [0, 1], RGB.
            positions: their indices in the video; by default they follow the frames taken so far. Where
                indices are not consecutive, no value looks across the gap.

        Raises:
            ValueError: for another shape, type or range, or positions of another number.
        """
        check_frames(frames)
        first = self._joined(self._pieces()).end if self._merged else self._watch.following
        positions = range(first, first + len(frames)) if positions is None else positions
        if len(positions) != len(frames):
            raise ValueError(f"got {len(positions)} positions for {len(frames)} frames; give one per frame")
        self.take(self._watch.take(frames, positions), positions)

    def take(self, observations: Mapping[int, Any], frames: Sequence[int]) -> None:
        """Take what the observer has seen in the next frames.

        Args:
            observations: by the first frame of their window, ascending.
            frames: indices of the frames that went by.
        """
        every, values, middles = self.every, [], []
        for start, observation in observations.items():
            self._held[start] = observation
            first = start - (self.window - 1) * every
            window = [self._held.get(first + step * every, _MISSING) for step in range(self.window)]
            if not any(seen is _MISSING for seen in window):
                middles.append(first + self.span // 2)
                values.append(self.measure(window, middles[-1]))
            self._held = {s: seen for s, seen in self._held.items() if s > first}
        self.keep(values, middles, frames)

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add what another estimator has measured on other frames of the same video, see `SeriesMetric`.

        Raises:
            ValueError: also where it was told something else of the video.
        """
        if isinstance(incoming_state, Estimator):
            for known in ("fps", "prompt"):
                ours, theirs = (getattr(one.about, known) for one in (self, incoming_state))
                if ours != theirs:
                    raise ValueError(
                        f"{self.name}: got pieces of two videos, {known}={ours!r} and {theirs!r}"
                    )
        super().merge_state(incoming_state)

    def reset(self) -> None:
        """Forget all frames."""
        super().reset()
        self._watch = Watch(self._observer)
        self._held = {}


_MISSING = object()


def span_of(kind: type[SeriesMetric], fps: float) -> int:
    """Consecutive frames that one value of a measure looks at, in a video of a frame rate."""
    if not issubclass(kind, Estimator):
        return kind.span
    observer = kind.observer(About(fps=fps))
    return observer.span + (kind.window - 1) * observer.every
