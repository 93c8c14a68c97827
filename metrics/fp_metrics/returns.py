"""What came back in a video after it was out of sight, and its figures over videos; no torch is needed."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from fp_metrics.effects import by_seed_and_prompt, effects_of
from fp_metrics.intervals import Interval

Kind = Literal["object", "place", "recall", "told"]

STAYED = 0
"""The gap of what stayed in sight."""

GONE_BEFORE = "the object was gone before it was hidden"

GAPS = (1, 9, 13, 17, 27, 43, 85)
"""Least gap of each bin, frames; the last bin is open."""

OPEN = 10**9
_NAMES: dict[Kind, str] = {
    "object": "object",
    "place": "place",
    "recall": "place that was shown truly",
    "told": "object that was shown truly",
}


@dataclass(frozen=True)
class Return:
    """Something that came back, or stayed.

    Attributes:
        kind: the object, or a part of the place; of still scenes that were shown truly: ``recall`` is the
            place against the truth, ``told`` an object as the probe reads it.
        gap: frames in which it was not seen (of an object: not seen whole); 0: it stayed in sight.
        agreement: with how it last looked. Of the object: `likeness`, 0 where it vanished; of the place: mean
            SSIM of its pixels; told: 1 where shape, colour and texture are right, else 0. NaN where there was
            nothing to remember.
        psnr: dB, at most 100, of the object moved to the middle, or of the place; 0 where the object
            vanished; NaN where it is told.
        weight: 1 for an object; for a place the pixels that came back after this gap, in views.
        reason: why agreement is undefined; None when it is defined.
    """

    kind: Kind
    gap: int
    agreement: float
    psnr: float
    weight: float = 1.0
    reason: str | None = None


@dataclass(frozen=True)
class Forgetting:
    """All that came back in one video.

    Attributes:
        returns: objects, then places; what stayed in sight has gap 0.
    """

    returns: tuple[Return, ...]

    def mean(
        self,
        kind: Kind,
        figure: Literal["agreement", "psnr"] = "agreement",
        gaps: Collection[int] = range(1, OPEN),
    ) -> float:
        """Weighted mean of a figure over what came back after these gaps; NaN without any.

        PSNR is that of the mean squared error of all.
        """
        chosen = [r for r in self.returns if r.kind == kind and r.reason is None and r.gap in gaps]
        if not chosen:
            return float("nan")
        weights = [r.weight for r in chosen]
        if figure == "psnr":
            return decibels(float(np.average([10 ** (-r.psnr / 10) for r in chosen], weights=weights)))
        return float(np.average([r.agreement for r in chosen], weights=weights))

    def forgotten(self, kind: Kind) -> float:
        """Agreement of what stayed in sight less that of what came back; NaN without either."""
        return self.mean(kind, gaps=(STAYED,)) - self.mean(kind)

    def undefined(self, kind: Kind) -> str | None:
        """Why nothing of this kind came back; None where something did."""
        reasons = [r.reason for r in self.returns if r.kind == kind and r.gap != STAYED]
        if None in reasons:
            return None
        return GONE_BEFORE if reasons else f"no {_NAMES[kind]} is hidden and returns"


def decibels(error: float) -> float:
    """PSNR of a mean squared error of values in [0, 1]: at most 100."""
    return -10 * math.log10(max(1e-10, error))


@dataclass(frozen=True)
class GapBin:
    """What came back after similar gaps.

    Attributes:
        least: smallest gap, frames.
        most: largest gap, frames; None: open.
        agreement: mean over videos with its interval, see `effects_of`.
        psnr: the same in dB.
        videos: with something that came back after such a gap.
        reason: why there is no figure; None where there is one.
    """

    least: int
    most: int | None
    agreement: Interval
    psnr: Interval
    videos: int
    reason: str | None


@dataclass(frozen=True)
class ForgettingSummary:
    """Agreement of what returns with what was seen, over several videos. Intervals are those of `effects_of`.

    Attributes:
        kind: of what came back, see `Return`.
        agreement: of what came back, after any gap.
        psnr: the same in dB.
        stayed: agreement of what stayed in sight, from frame to frame.
        forgotten: what stayed less what came back, video by video; 0 is a perfect memory.
        bins: agreement against the gap.
        floor: the same of the ground-truth videos: what a perfect memory reads; None if not given.
        videos: videos in which something of this kind came back.
        reasons: why it is undefined in the others, with the number of videos.
    """

    kind: Kind
    agreement: Interval
    psnr: Interval
    stayed: Interval
    forgotten: Interval
    bins: tuple[GapBin, ...]
    floor: "ForgettingSummary | None"
    videos: int
    reasons: dict[str, int]


def summarise_forgetting(
    videos: Sequence[Forgetting],
    kind: Kind,
    *,
    clusters: Sequence[object] | None = None,
    seeds: Sequence[object] | None = None,
    floor: Iterable[Forgetting] = (),
    floor_clusters: Sequence[object] | None = None,
    gaps: Sequence[int] = GAPS,
    level: float = 0.95,
    seed: int = 0,
) -> ForgettingSummary:
    """Agreement of what returns, in all and against the gap.

    Args:
        videos: one per video; those in which nothing returns are counted and left out.
        kind: of what came back.
        clusters: the prompt of each video; by default each is its own.
        seeds: the training seed of each video; by default all are of one training.
        floor: the same of the ground-truth videos.
        floor_clusters: their prompts.
        gaps: least gap of each bin, ascending.
        level: of the intervals.
        seed: of the bootstrap.

    Raises:
        ValueError: for gaps that do not ascend from 1 or more.
    """
    if not gaps or gaps[0] < 1 or any(least >= after for least, after in pairwise(gaps)):
        raise ValueError(f"got gaps {list(gaps)}, expected ascending numbers of frames from 1 on")

    def interval(values: Sequence[float]) -> Interval:
        effects = effects_of(by_seed_and_prompt(values, clusters, seeds)[None])
        return effects.intervals(level, seed=seed)[0]

    bins = []
    for least, after in pairwise((*gaps, OPEN)):
        values, quality = (
            [video.mean(kind, figure, range(least, after)) for video in videos]
            for figure in ("agreement", "psnr")
        )
        count = sum(bool(np.isfinite(value)) for value in values)
        reason = None if count else f"no {_NAMES[kind]} returns after such a gap"
        most = None if after == OPEN else after - 1
        bins.append(GapBin(least, most, interval(values), interval(quality), count, reason))
    reasons = Counter(reason for video in videos if (reason := video.undefined(kind)) is not None)
    true = list(floor)
    return ForgettingSummary(
        kind=kind,
        agreement=interval([video.mean(kind) for video in videos]),
        psnr=interval([video.mean(kind, "psnr") for video in videos]),
        stayed=interval([video.mean(kind, gaps=(STAYED,)) for video in videos]),
        forgotten=interval([video.forgotten(kind) for video in videos]),
        bins=tuple(bins),
        floor=summarise_forgetting(true, kind, clusters=floor_clusters, gaps=gaps, level=level, seed=seed)
        if true
        else None,
        videos=len(videos) - reasons.total(),
        reasons=dict(reasons),
    )
