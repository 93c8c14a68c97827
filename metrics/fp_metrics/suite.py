"""One pass over a video, fanned out to all estimators, their drift segments and the flags."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata, util
from typing import Any

import cv2
import numpy as np
import scipy
import torch
import torchmetrics
from torch import Tensor

from fp_metrics.curves import seconds_drift, slope, worst_window
from fp_metrics.drift import Drift, Drifted, DriftResult
from fp_metrics.estimator import SCORES, Estimator
from fp_metrics.families import FAMILIES
from fp_metrics.flags import Flags, FlagsMeter
from fp_metrics.observer import About, Observer, Unmeasurable
from fp_metrics.segments import FRACTION, Segments, segment
from fp_metrics.series import Series
from fp_metrics.series_metric import check_frames
from fp_metrics.weights import weights_sha256

PROTOCOL_VERSION = 4
"""Grows whenever the same video would get other figures."""

CHUNK = 8
"""Frames that observers see at once, however they come: networks round differently at other batch sizes."""


class WrongLength(ValueError):
    """A video has another number of frames than was said."""


@dataclass(frozen=True, eq=False)
class VideoScores:
    """All that was measured on one video; keys are estimator names.

    Attributes:
        series: values per frame and their score.
        drift: first against last 15 % in video time.
        generation_drift: the same in the order in which the frames were made; empty when no order was given.
        flags: whether the video is frozen or loops, to be read beside every consistency score.
        estimators: the class behind each name (its score, family, unit and direction).
        fps: frames per second.
    """

    series: dict[str, Series]
    drift: dict[str, DriftResult]
    generation_drift: dict[str, DriftResult]
    flags: Flags
    estimators: dict[str, type[Estimator]]
    fps: float

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
        """One plain dict per estimator: score, coverage, drift in each order, reasons, curve, flags."""
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
            rows.append(row | self._curve(name) | asdict(self.flags))
        return rows

    def _curve(self, name: str) -> dict[str, Any]:
        """Slope per second, the worst stretch as long as a segment, the last 5 seconds against the first."""
        series, better = self.series[name], self.estimators[name].higher_is_better
        worst = worst_window(series, self.drift[name].frames, higher_is_better=better)
        seconds = seconds_drift(series, self.fps)
        return {
            "slope": slope(series) * self.fps,
            "worst_first": worst.first,
            "worst": worst.mean,
            "seconds_drift": seconds.signed,
            "seconds_reason": seconds.reason,
        }


def choose(families: Sequence[str], metrics: Sequence[str] | None = None) -> dict[str, type[Estimator]]:
    """The estimators of some families, by name.

    Args:
        families: names in `FAMILIES`.
        metrics: some of the seven scores, or names of estimators (of these families); None: all.

    Raises:
        ValueError: for an unknown family, score or estimator.
    """
    _refuse_unknown("family", families, tuple(FAMILIES))
    found = {name: kind for family in families for name, kind in FAMILIES[family].items()}
    if metrics is None:
        return found
    _refuse_unknown("score or estimator", metrics, (*SCORES, *found))
    return {name: kind for name, kind in found.items() if kind.score in metrics or name in metrics}


def _refuse_unknown(what: str, got: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in got if name not in known]
    if unknown:
        raise ValueError(f"unknown {what} {unknown[0]!r}, expected one of {', '.join(known)}")


def score_video(
    frames: Iterable[Tensor],
    *,
    length: int,
    families: Sequence[str] = ("plain",),
    metrics: Sequence[str] | None = None,
    about: About | None = None,
    order: Sequence[int] | None = None,
) -> VideoScores:
    """Score one video in one pass; memory does not grow with its length beyond a few numbers per frame.

    Args:
        frames: chunks of any size, float32 ``(n, 3, h, w)`` in [0, 1], or single frames ``(3, h, w)``.
        length: frames of the whole video (its last 15 % must be known in advance).
        families: which families of estimators to run.
        metrics: some of the seven scores, or names of estimators; None: all.
        about: what is known of the video: its rate, its prompt, its ground truth.
        order: frame indices as they were generated (frames that were given left out): adds the drift in this
            order.

    Raises:
        ValueError: for unknown families or metrics, a truth that is missing or too short, or frames of
            another shape or range.
        WrongLength: for another number of frames than `length`.
    """
    estimators = choose(families, metrics)
    about = About() if about is None else about
    truth = about.truth
    if truth is not None and truth.length < length and any(e.needs_truth for e in estimators.values()):
        raise ValueError(f"the ground truth has {truth.length} frames, the video {length}; render it as long")
    segments = [segment(length)] + ([segment(length, order)] if order is not None else [])
    undefined = {name: why for name, kind in estimators.items() if (why := kind.unavailable())}
    meters = {
        name: Drift(kind, segments, about) for name, kind in estimators.items() if name not in undefined
    }
    flags = FlagsMeter()
    undefined |= _watch(frames, length, meters, flags)
    results = {
        name: _undefined(kind, segments, undefined[name]) if name in undefined else meters[name].compute()
        for name, kind in estimators.items()
    }
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
        fps=about.fps,
    )


def _watch(
    frames: Iterable[Tensor], length: int, meters: Mapping[str, Drift], flags: FlagsMeter
) -> dict[str, str]:
    """Show all frames to everyone, each observer once; who could not look at them, and why."""
    sharing: dict[type[Observer], dict[str, Drift]] = {}
    for name, meter in meters.items():
        sharing.setdefault(meter.whole.observer, {})[name] = meter
    watches = {kind: next(iter(together.values())).watch for kind, together in sharing.items()}
    undefined: dict[str, str] = {}
    taken = 0
    for batch in _rechunked(frames):
        positions = range(taken, taken + len(batch))
        taken += len(batch)
        if taken > length:
            break
        for kind, watch in list(watches.items()):
            try:
                seen = watch.take(batch, positions)
                for name, meter in sharing[kind].items():
                    _take(name, meter, seen, positions)
            except Unmeasurable as error:
                undefined |= dict.fromkeys(sharing[kind], str(error))
                del watches[kind]
        flags.update(batch)
    if taken != length:
        raise WrongLength(f"got {'more' if taken > length else taken} frames, expected length={length}")
    return undefined


def _take(name: str, meter: Drift, seen: Mapping[int, Any], frames: Sequence[int]) -> None:
    try:
        meter.take(seen, frames)
    except Exception as error:
        error.add_note(f"in metric {name!r}")
        raise


def _undefined(kind: type[Estimator], segments: Sequence[Segments], reason: str) -> Drifted:
    nan = float("nan")
    drift = {s.order: DriftResult(nan, nan, len(s.start), s.order, reason) for s in segments}
    return Drifted(Series.undefined(kind.unit, reason), drift)


def _rechunked(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same frames, `CHUNK` at a time."""
    waiting: list[Tensor] = []
    for chunk in frames:
        batch = chunk[None] if chunk.ndim == 3 else chunk
        check_frames(batch)
        for piece in batch.split(CHUNK):
            waiting.append(piece)
            held = torch.cat(waiting) if len(waiting) > 1 else piece
            if len(held) >= CHUNK:
                yield held[:CHUNK]
                waiting = [held[CHUNK:]] if len(held) > CHUNK else []
            else:
                waiting = [held]
    if waiting:
        yield waiting[0]


def protocol(families: Sequence[str] | None = None, metrics: Sequence[str] | None = None) -> dict[str, Any]:
    """How figures are made, as plain data: figures with different protocols must not share a column."""
    chosen = choose(tuple(FAMILIES) if families is None else families, metrics)
    return {
        "protocol": PROTOCOL_VERSION,
        "segments": f"n = max(1, int({FRACTION} * frames)), first n against last n, each scored alone",
        "chunk": CHUNK,
        "estimators": {name: _described(kind) for name, kind in chosen.items()},
        "versions": dict(_versions()),
    }


_OPTIONAL = {"transformers": "transformers", "ai-edge-litert": "ai_edge_litert", "dlib-bin": "dlib"}
"""Packages whose version is told where they are installed, and what they are imported by."""


@cache
def _versions() -> Mapping[str, str]:
    """Of packages behind the figures; reading one takes milliseconds."""
    imported = {module.__name__: module.__version__ for module in (torch, np, scipy, cv2, torchmetrics)}
    return imported | {name: metadata.version(name) for name in _OPTIONAL if util.find_spec(_OPTIONAL[name])}


def _described(kind: type[Estimator]) -> dict[str, Any]:
    usual = kind.observer(About())
    return {
        "score": kind.score,
        "family": kind.family,
        "unit": kind.unit,
        "higher_is_better": kind.higher_is_better,
        "observations": kind.window,
        "frames_per_observation": usual.span,
        "every": usual.every,
        "settings": {**kind.observer.settings, **kind.settings},
        "weights": {name: weights_sha256(name) for name in kind.artifacts()},
        "accuracy": kind.accuracy(),
    }
