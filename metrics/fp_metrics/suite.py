"""One pass over a video, fanned out to all estimators, their drift segments and the flags."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import scipy
import torch
import torchmetrics
from torch import Tensor

from fp_metrics.drift import FRACTION, Drift, DriftResult, segment
from fp_metrics.estimator import SCORES, Estimator
from fp_metrics.families import FAMILIES
from fp_metrics.flags import Flags, FlagsMeter
from fp_metrics.series import Series
from fp_metrics.series_metric import check_frames
from fp_metrics.truth import WorldTruth

PROTOCOL_VERSION = 1
"""Grows whenever the same video would get other figures."""


@dataclass(frozen=True, eq=False)
class VideoScores:
    """All that was measured on one video; keys are estimator names.

    Attributes:
        series: values per frame and their score.
        drift: first against last 15 % in video time.
        generation_drift: the same in the order in which the frames were made; empty when no order was given.
        flags: whether the video is frozen or loops, to be read beside every consistency score.
        estimators: the class behind each name (its score, family, unit and direction).
    """

    series: dict[str, Series]
    drift: dict[str, DriftResult]
    generation_drift: dict[str, DriftResult]
    flags: Flags
    estimators: dict[str, type[Estimator]]

    def to_rows(self) -> list[dict[str, Any]]:
        """The values in long format, one plain dict per value: estimator, score, family, frame, value."""
        rows: list[dict[str, Any]] = []
        for name, series in self.series.items():
            kind = self.estimators[name]
            rows += [
                {
                    "estimator": name,
                    "score": kind.score,
                    "family": kind.family,
                    "frame": int(p),
                    "value": float(v),
                }
                for p, v in zip(series.positions, series.values, strict=True)
            ]
        return rows

    def to_summary(self) -> list[dict[str, Any]]:
        """One plain dict per estimator: score, coverage, drift in each order, reasons, the video's flags."""
        rows: list[dict[str, Any]] = []
        for name, series in self.series.items():
            kind = self.estimators[name]
            row = {"estimator": name, "score": kind.score, "family": kind.family, "value": series.score}
            row |= {"coverage": series.coverage, "reason": series.reason}
            for prefix, results in (("drift", self.drift), ("generation_drift", self.generation_drift)):
                if name in results:
                    result = results[name]
                    row |= {f"{prefix}_start": result.start, f"{prefix}_end": result.end}
                    row |= {f"{prefix}": result.signed, f"{prefix}_reason": result.reason}
            rows.append(row | asdict(self.flags))
        return rows


def choose(families: Sequence[str], scores: Sequence[str] | None = None) -> dict[str, type[Estimator]]:
    """The estimators of some families, by name.

    Args:
        families: names in `FAMILIES`.
        scores: some of the seven; None: all.

    Raises:
        ValueError: for an unknown family or score.
    """
    wanted = SCORES if scores is None else tuple(scores)
    for kind, got, known in (("family", families, tuple(FAMILIES)), ("score", wanted, SCORES)):
        unknown = [name for name in got if name not in known]
        if unknown:
            raise ValueError(f"unknown {kind} {unknown[0]!r}, expected one of {', '.join(known)}")
    found = {name: c for family in families for name, c in FAMILIES[family].items()}
    return {name: c for name, c in found.items() if c.score in wanted}


def score_video(
    frames: Iterable[Tensor],
    *,
    families: Sequence[str] = ("plain",),
    truth: WorldTruth | None = None,
    length: int,
    scores: Sequence[str] | None = None,
    order: Sequence[int] | None = None,
) -> VideoScores:
    """Score one video in one pass; memory does not grow with its length beyond a few numbers per frame.

    Args:
        frames: chunks of any size, float32 ``(n, 3, h, w)`` in [0, 1], or single frames ``(3, h, w)``.
        families: which families of estimators to run.
        truth: ground truth, needed by families that compare with it.
        length: frames of the whole video (its last 15 % must be known in advance).
        scores: some of the seven; None: all.
        order: frame indices as they were generated (frames that were given left out): adds the drift in this
            order.

    Raises:
        ValueError: for unknown families or scores, a truth that is missing or too short, frames of another
            shape or range, or another number of frames than `length`.
    """
    estimators = choose(families, scores)
    if truth is not None and truth.length < length and any(e.needs_truth for e in estimators.values()):
        raise ValueError(f"the ground truth has {truth.length} frames, the video {length}; render it as long")
    segments = [segment(length)] + ([segment(length, order)] if order is not None else [])
    meters = {name: Drift(estimator, segments, truth) for name, estimator in estimators.items()}
    flags = FlagsMeter()
    taken = 0
    for chunk in frames:
        batch = chunk[None] if chunk.ndim == 3 else chunk
        check_frames(batch)
        positions = range(taken, taken + len(batch))
        taken += len(batch)
        if taken > length:
            break
        seen: dict[Any, list[Any]] = {}  # estimators that inherit one way to look at a frame look once
        for meter in meters.values():
            way = type(meter.whole).observe
            if way not in seen:
                seen[way] = meter.whole.look(batch, positions)
            meter.update(batch, seen[way])
        flags.update(batch)
    if taken != length:
        raise ValueError(f"got {'more' if taken > length else taken} frames, expected length={length}")
    results = {name: meter.compute() for name, meter in meters.items()}
    return VideoScores(
        series={name: result.series for name, result in results.items()},
        drift={name: result.drift["temporal"] for name, result in results.items()},
        generation_drift={
            name: result.drift["generation"]
            for name, result in results.items()
            if "generation" in result.drift
        },
        flags=flags.compute(),
        estimators=estimators,
    )


def protocol(families: Sequence[str] | None = None) -> dict[str, Any]:
    """How figures are made, as plain data: figures with different protocols must not share a column."""
    chosen = choose(tuple(FAMILIES) if families is None else families)
    return {
        "protocol": PROTOCOL_VERSION,
        "segments": f"n = max(1, int({FRACTION} * frames)), first n against last n, each scored alone",
        "estimators": {
            name: {
                "score": kind.score,
                "family": kind.family,
                "unit": kind.unit,
                "higher_is_better": kind.higher_is_better,
                "span": kind.span,
                "least_frames": kind.least_frames,
            }
            for name, kind in chosen.items()
        },
        "versions": {module.__name__: module.__version__ for module in (torch, np, scipy, cv2, torchmetrics)},
    }
