"""Scores of one video as plain rows: one per value (frames) and one per estimator (videos)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from fp_lab.lab.scoring.files import COMPANION_FAMILY
from fp_metrics import COMPANIONS, FAMILIES, About, Series, VideoScores, exposure_bias, score_video, segment
from fp_metrics.companions import LEARNED_COMPANIONS, Companion
from fp_metrics.curves import border_jump
from fp_metrics.drift import compare
from fp_metrics.estimator import span_of
from fp_metrics.series_metric import SeriesMetric

Row = dict[str, Any]


@dataclass(frozen=True)
class VideoRows:
    """Rows of one video.

    Attributes:
        frames: rows of estimator, score, family, frame, value, and the given identity.
        videos: rows per estimator and history: value, coverage, drift in each order, reasons, flags, gap.
        returns: hidden content that came back, per history; empty where there can be none.
    """

    frames: list[Row]
    videos: list[Row]
    returns: dict[str, list[Row]] = field(default_factory=dict)


def pixels(frames: Tensor) -> Tensor:
    """Convert frames for the metrics: uint8 ``n h w c`` to float32 ``n c h w`` in [0, 1]."""
    return frames.movedim(-1, 1).to(torch.float32) / 255


def measure(
    histories: Mapping[str, Tensor],
    identity: Mapping[str, Any],
    *,
    families: Sequence[str],
    about: About | None = None,
    reference: Tensor | None = None,
    sections: Sequence[Sequence[int]] = (),
    perceptual: bool = False,
) -> VideoRows:
    """Score all versions of one video.

    Args:
        histories: name (``own``, ``true``, ...) -> uint8 ``t h w c``. Where both are there, the exposure-bias
            gap of ``own`` is measured against ``true``.
        identity: columns of every row (video, prompt, seed).
        families: families of estimators to measure.
        about: facts of the video: frame rate, prompt, ground truth.
        reference: true video, uint8 ``t h w c``, to add PSNR and SSIM.
        sections: frames of each section in generation order; empty leaves out the metrics that need them.
        perceptual: whether to measure LPIPS and ST-LPIPS against the reference too.
    """
    order = [frame for section in sections for frame in section] or None
    companions = COMPANIONS | (LEARNED_COMPANIONS if perceptual else {})
    scores: dict[str, VideoScores] = {}
    frame_rows: list[Row] = []
    video_rows: list[Row] = []
    series: dict[str, dict[str, Series]] = {}
    for history, video in histories.items():
        scored = score_video([pixels(video)], families=families, about=about, length=len(video), order=order)
        scores[history], series[history] = scored, dict(scored.series)
        known = {**identity, "history": history}
        frame_rows += [known | row for row in scored.to_rows()]
        video_rows += [known | row for row in scored.to_summary()]
        for name, companion in companions.items() if reference is not None else ():
            meter = companion()
            assert reference is not None
            meter.update(pixels(video), pixels(reference))
            series[history][name] = meter.compute()
            row = _companion_row(meter, series[history][name], len(video), order)
            video_rows.append(known | row | asdict(scored.flags))
            frame_rows += [known | r for r in _companion_values(name, series[history][name])]
    if sections and {"own", "true"} <= series.keys():
        borders = sorted(min(section) for section in sections)[1:]
        for row in video_rows:
            if row["history"] == "own":
                name = row["estimator"]
                better = measures()[name].higher_is_better is not False
                gap = exposure_bias(
                    series["true"][name], series["own"][name], sections, higher_is_better=better
                )
                row |= {
                    "border_jump": border_jump(series["own"][name], borders),
                    "exposure_gap": gap.mean,
                    "exposure_gaps": list(gap.gaps),
                    "exposure_reason": gap.reason,
                }
    return VideoRows(frame_rows, video_rows)


def measures() -> dict[str, type[SeriesMetric]]:
    """All estimators and companions by name."""
    groups: tuple[Mapping[str, type[SeriesMetric]], ...]
    groups = (*FAMILIES.values(), COMPANIONS, LEARNED_COMPANIONS)
    return {name: kind for group in groups for name, kind in group.items()}


def spans_of(names: Iterable[str], fps: float) -> dict[str, int]:
    """Return estimator -> number of consecutive frames behind one value, at a frame rate."""
    kinds = measures()
    return {name: span_of(kinds[name], fps) for name in names}


def companion_score(name: str) -> str:
    """Score that a companion stands for in tables: ``companion/psnr`` -> ``psnr``."""
    return name.rpartition("/")[2]


def _companion_values(name: str, series: Series) -> Iterable[Row]:
    label = {"estimator": name, "score": companion_score(name), "family": COMPANION_FAMILY}
    for position, value in zip(series.positions, series.values, strict=True):
        yield label | {"frame": int(position), "value": float(value)}


def _companion_row(meter: Companion, series: Series, length: int, order: Sequence[int] | None) -> Row:
    """Columns of `VideoScores.to_summary`, for a companion."""
    row: Row = {"estimator": meter.name, "score": companion_score(meter.name), "family": COMPANION_FAMILY}
    row |= {"value": series.score, "coverage": series.coverage, "reason": series.reason}
    orders = {"drift": None} | ({"generation_drift": order} if order is not None else {})
    for prefix, frames in orders.items():
        part = segment(length, frames)
        start, end = (_slice(meter, series, chosen) for chosen in (part.start, part.end))
        result = compare(start, end, len(part.start), part.order)
        row |= {f"{prefix}_start": result.start, f"{prefix}_end": result.end}
        row |= {prefix: result.signed, f"{prefix}_reason": result.reason}
    return row


def _slice(meter: Companion, series: Series, frames: Sequence[int]) -> Series:
    kept = series.inside(frames)
    return meter.summarise(series.values[kept], series.positions[kept], len(frames))
