"""Flags to be read beside every consistency score: a frozen video is perfectly consistent, so is a loop."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.functional.colour import luma

STILL = 0.5 / 255
"""Mean absolute change of luma from one frame to the next, below which nothing happens."""

SLOW = 24
"""Steps over which a change too slow to be seen from one frame to the next must add up to `STILL`."""

_FINGERPRINT = 8  # a frame's fingerprint is its luma averaged over 8x8 areas
_GENTLE = 2 / 255  # a slow fade of 8-bit frames now and then takes a step of 1/255
_VIEWS = 8  # signed sums of a fingerprint that rule out most periods


@dataclass(frozen=True)
class Flags:
    """What kind of stillness a video shows.

    Attributes:
        frozen: whether at least half of all steps from frame to frame change nothing. Shots that stand still
            between cuts are frozen too.
        frozen_share: share of such steps, in [0, 1]; NaN below 2 frames. A slow fade is a change, and so is
            noise that can be seen.
        frozen_from: first frame after which nothing changes any more; None when the video moves to its end.
        loop_period: after how many frames all the rest of the video repeats, at least 2 and at most half of
            the video, counted on the moving part; None when it does not. What stands still, or only flickers
            with noise, is no loop.
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
        self._fingerprints = array("f")  # small tensors would keep the allocator from returning large ones

    def update(self, frames: Tensor) -> None:
        """Take the next frames, float32 ``(n, 3, h, w)`` in [0, 1]."""
        for grey in luma(frames):
            if self._previous is not None:
                self._changes.append(float((grey - self._previous).abs().mean()))
            self._previous = grey
            self._fingerprints.extend(F.adaptive_avg_pool2d(grey[None], _FINGERPRINT).flatten().tolist())

    def compute(self) -> Flags:
        """The flags of all frames taken so far."""
        if not self._changes:
            return Flags(False, float("nan"), None, None)
        fingerprints = torch.tensor(self._fingerprints).reshape(-1, _FINGERPRINT**2)
        still = still_steps(np.array(self._changes), fingerprints)
        moving = np.flatnonzero(~still)
        last_move = int(moving[-1]) + 1 if len(moving) else 0
        share = float(still.mean())
        return Flags(
            frozen=share >= 0.5,
            frozen_share=share,
            frozen_from=last_move if last_move < len(still) else None,
            loop_period=loop_period(fingerprints[: last_move + 1]),
        )


def still_steps(changes: NDArray[np.float64], fingerprints: Tensor) -> NDArray[np.bool_]:
    """Which steps from frame to frame change nothing.

    A step is still when it changes less than `STILL`, unless it is part of a slow change: a stretch of `SLOW`
    gentle steps (or all that there are in a row) over which the fingerprint changes by `STILL` or more. Of
    such a stretch only what lies between the frames that look like its first one and those that look like its
    last one counts as changing.

    Args:
        changes: ``(t - 1,)``, mean absolute change of luma.
        fingerprints: ``(t, d)``.
    """
    still = changes < STILL
    gentle = np.concatenate(([False], changes < _GENTLE, [False])).astype(np.int8)
    for begin, end in np.flatnonzero(np.diff(gentle)).reshape(-1, 2):  # steps begin..end-1 are gentle
        lag = min(SLOW, int(end - begin))
        moved = _distance(fingerprints[begin + lag : end + 1], fingerprints[begin : end + 1 - lag]) >= STILL
        for first in begin + np.flatnonzero(moved.numpy()):
            if still[first : first + lag].any():
                stretch = fingerprints[first : first + lag + 1]
                leaves = int((_distance(stretch, stretch[0]) >= STILL / 4).nonzero()[0]) - 1
                arrives = int((_distance(stretch, stretch[-1]) >= STILL / 4).nonzero()[-1]) + 1
                still[first + leaves : first + arrives] = False
    return still


def loop_period(fingerprints: Tensor) -> int | None:
    """The period p, ``2 <= p <= t / 2``, with ``mean |f_i - f_(i-p)| < 0.5/255`` for every i >= p.

    Of neighbouring periods for which this holds (motion is slow), the one that repeats best; of several such
    groups the first. Frames must also differ by more than twice that much within a period: what stands still
    repeats after any number of frames. Memory grows as the fingerprints do.

    Args:
        fingerprints: ``(t, d)``, one row per frame.
    """
    best: tuple[float, int] | None = None
    moved = (_distance(fingerprints, fingerprints[:1]) > 2 * STILL).nonzero()
    if not len(moved):
        return None
    for period in _possible_periods(fingerprints, least=max(2, int(moved[0]) + 1)):
        if best is not None and period > best[1] + 1:
            break
        mismatch = _distance(fingerprints[period:], fingerprints[:-period])
        if bool((mismatch < STILL).all()):
            if best is not None and float(mismatch.mean()) >= best[0]:
                break
            best = float(mismatch.mean()), period
    return None if best is None else best[1]


def _possible_periods(fingerprints: Tensor, least: int) -> Iterator[int]:
    """Periods from `least` on that a few numbers per frame do not rule out.

    For any signs s, ``|s . (f_i - f_j)| / d <= mean |f_i - f_j|``.
    """
    count, size = fingerprints.shape
    signs = torch.where((torch.arange(size)[:, None] >> torch.arange(_VIEWS - 1)) & 1 == 0, 1.0, -1.0)
    signs = torch.cat((torch.ones(size, 1), signs), 1)
    views = np.ascontiguousarray((fingerprints.double() @ signs.double() / size).numpy())
    for period in range(least, count // 2 + 1):
        if np.abs(views[period:] - views[:-period]).max() < STILL * (1 + 1e-6):
            yield period


def _distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of each row, ``(n,)``."""
    return (first - second).abs().mean(-1)
