"""Observers: what looks at a video, once, for all the estimators that share what it sees.

An observer looks at windows of `span` consecutive frames, one window every `every` frames. Estimators turn
its observations into values. A network runs in an observer: several scores read it at the price of one.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fp_metrics.truth import WorldTruth

USUAL_FPS = 24.0


class Unmeasurable(ValueError):
    """These frames cannot be looked at in this way (too small, say); other observers may go on."""


@dataclass(frozen=True, eq=False)
class About:
    """What is known of a video beside its frames.

    Attributes:
        fps: frames per second.
        prompt: the text that the video shows; empty where nobody knows.
        truth: ground truth of a synthetic world, if it is a video of one.
    """

    fps: float = USUAL_FPS
    prompt: str = ""
    truth: WorldTruth | None = None

    def __post_init__(self) -> None:
        """Refuse a rate that is none."""
        if not self.fps > 0:
            raise ValueError(f"got fps={self.fps}, expected frames per second above 0")


class Observer:
    """Looks at windows of frames. By default it sees the frames themselves.

    Attributes:
        span: consecutive frames in a window.
        every: frames from the beginning of one window to that of the next.
        weights: names of the artifacts it loads, see `fp_metrics.weights`.
        settings: what else its observations depend on (sizes, thresholds), for the protocol.
    """

    span: int = 1
    every: int = 1
    weights: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[dict[str, Any]] = {}

    def __init__(self, about: About) -> None:
        self.about = about

    def keep(self, frame: Tensor, position: int) -> Any:
        """What is held of a frame until its windows are full; small where windows are long.

        Args:
            frame: float32 ``(3, h, w)`` in [0, 1], RGB.
            position: its index in the video.
        """
        return frame

    def look(self, windows: Sequence[Sequence[Any]], starts: Sequence[int]) -> list[Any]:
        """One observation per window; networks take all windows of a call as one batch where they can.

        Args:
            windows: of what was kept of `span` frames each, oldest first.
            starts: index of each window's first frame.

        Raises:
            Unmeasurable: nothing of this video can be seen in this way.
            MissingWeights: an artifact is not there.
        """
        return [window[0] for window in windows]


class Watch:
    """Feeds an observer the frames of a video as they come, and holds no more of them than it must.

    Args:
        observer: that looks.
        wanted: whether a window that begins at this frame shall be looked at; None: every `every`-th from the
            first frame.

    Attributes:
        following: index of the frame after the last one taken.
    """

    def __init__(self, observer: Observer, wanted: Callable[[int], bool] | None = None) -> None:
        self.observer = observer
        self._wanted = wanted
        self._held: deque[tuple[int, Any]] = deque(maxlen=observer.span)
        self._first, self.following = 0, 0

    def take(self, frames: Tensor, positions: Sequence[int]) -> dict[int, Any]:
        """What is seen in the windows that are full now: start -> observation.

        Args:
            frames: float32 ``(n, 3, h, w)`` in [0, 1].
            positions: their indices. No window reaches across a gap.
        """
        span, starts, windows = self.observer.span, [], []
        for frame, position in zip(frames, positions, strict=True):
            if position != self.following:
                self._held.clear()
                self._first = position
            self.following = position + 1
            if any(self._is_wanted(start) for start in range(position - span + 1, position + 1)):
                self._held.append((position, self.observer.keep(frame, position)))
            start = position - span + 1
            if start >= self._first and self._is_wanted(start):
                starts.append(start)
                windows.append(tuple(kept for _, kept in list(self._held)[-span:]))
        return dict(zip(starts, self.observer.look(windows, starts), strict=True)) if starts else {}

    def _is_wanted(self, start: int) -> bool:
        if self._wanted is not None:
            return self._wanted(start)
        return (start - self._first) % self.observer.every == 0


def planned_starts(length: int, runs: Sequence[range], span: int, every: int) -> frozenset[int]:
    """Where windows begin in a whole video, so that each run of frames gets the windows it would get alone.

    Args:
        length: frames of the video.
        runs: stretches of frames that are also scored alone.
        span: frames in a window.
        every: frames between the beginnings of windows.
    """
    inside = {start for run in runs for start in run[::every] if start + span <= run.stop}
    between = {
        start
        for start in range(0, length - span + 1, every)
        if not any(run.start <= start and start + span <= run.stop for run in runs)
    }
    return frozenset(inside | between)
