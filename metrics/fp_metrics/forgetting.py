"""Forgetting, the other half of the dilemma: does what returns look as it did before it was hidden?

In worlds with occlusions and revisits, an object or a place is out of sight for a number of frames, the gap,
and comes back. What comes back is compared with how the same video last showed it, never with the truth: a
model that drifts from the truth but remembers what it made agrees with itself. The truth only says what is
hidden when. What stays in sight is compared from frame to frame in the same way: noise and flicker cost as
much there, so the difference is what was forgotten.

In still scenes behind a curtain, or along a walk, all is place. There what was shown truly before is compared
with the truth too: its pixels (recall), and its objects as the probe reads them (told).
"""

from collections.abc import Sequence

from torch import Tensor

from fp_metrics.recalled import SceneMemory
from fp_metrics.returning import WorldMemory
from fp_metrics.returns import Forgetting
from fp_metrics.series_metric import check_frames
from fp_metrics.truth import SceneTruth, WorldTruth


class ForgettingMeter:
    """Watches a video of a known world.

    Holds what was last seen of objects and of each part of the place, however long the video is.

    Args:
        truth: says what is hidden when, and where the view is.
        shown: of each frame of a still scene, how many frames at the beginning of the true video it was made
            from, see `SceneMemory`.
    """

    def __init__(self, truth: WorldTruth | SceneTruth, shown: Sequence[int] | None = None) -> None:
        self.truth = truth
        self._memory = WorldMemory(truth) if isinstance(truth, WorldTruth) else SceneMemory(truth, shown)
        self._taken = 0

    def update(self, frames: Tensor) -> None:
        """Take the next frames of the video, float32 ``(n, 3, h, w)`` in [0, 1].

        Raises:
            ValueError: for another shape or range, or more frames than the truth has.
        """
        check_frames(frames)
        after = self._taken + len(frames)
        if after > self.truth.length:
            raise ValueError(
                f"the ground truth has {self.truth.length} frames, the video at least {after}; "
                "render it as long"
            )
        for frame in frames.cpu():
            self._memory.take(frame, self._taken)
            self._taken += 1

    def compute(self) -> Forgetting:
        """What has come back so far."""
        return Forgetting(tuple(self._memory.compute()))
