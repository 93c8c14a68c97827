"""Flags to be read beside every consistency score: a frozen video is perfectly consistent, so is a loop."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.functional.colour import luma

STILL = 0.5 / 255
"""Mean absolute change of luma from one frame to the next, below which nothing happens."""

_FINGERPRINT = 8  # a frame's fingerprint is its luma averaged over 8x8 areas


@dataclass(frozen=True)
class Flags:
    """What kind of stillness a video shows.

    Attributes:
        frozen: whether at least half of all steps from frame to frame change nothing.
        frozen_share: share of such steps, in [0, 1]; NaN below 2 frames.
        frozen_from: first frame after which nothing changes any more; None when the video moves to its end.
        loop_period: smallest number of frames after which all the rest of the video repeats, at least 2 and
            at most half of the video, counted on the moving part; None when it does not.
    """

    frozen: bool
    frozen_share: float
    frozen_from: int | None
    loop_period: int | None


class FlagsMeter:
    """Collects 65 numbers per frame and judges them at the end."""

    def __init__(self) -> None:
        self._previous: Tensor | None = None
        self._changes: list[float] = []
        self._fingerprints: list[Tensor] = []

    def update(self, frames: Tensor) -> None:
        """Take the next frames, float32 ``(n, 3, h, w)`` in [0, 1]."""
        for grey in luma(frames):
            if self._previous is not None:
                self._changes.append(float((grey - self._previous).abs().mean()))
            self._previous = grey
            self._fingerprints.append(F.adaptive_avg_pool2d(grey[None], _FINGERPRINT).flatten())

    def compute(self) -> Flags:
        """The flags of all frames taken so far."""
        if not self._changes:
            return Flags(False, float("nan"), None, None)
        still = np.array(self._changes) < STILL
        moving = np.flatnonzero(~still)
        last_move = int(moving[-1]) + 1 if len(moving) else 0
        share = float(still.mean())
        return Flags(
            frozen=share >= 0.5,
            frozen_share=share,
            frozen_from=last_move if last_move < len(still) else None,
            loop_period=loop_period(torch.stack(self._fingerprints[: last_move + 1])),
        )


def loop_period(fingerprints: Tensor) -> int | None:
    """The smallest period p, ``2 <= p <= t / 2``, with ``mean |f_i - f_(i-p)| < 0.5/255`` for every i >= p.

    Args:
        fingerprints: ``(t, d)``, one row per frame.
    """
    for period in range(2, len(fingerprints) // 2 + 1):
        differences = (fingerprints[period:] - fingerprints[:-period]).abs().mean(1)
        if bool((differences < STILL).all()):
            return period
    return None
