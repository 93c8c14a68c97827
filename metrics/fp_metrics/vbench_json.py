"""VBench's results files: ``{"imaging_quality": [mean, [{"video_path": ..., "video_results": ...}]], ...}``.

Figures read here were made by VBench's own code, with its own weights and frames: they are the family `paper`
with a protocol of their own, and share no column with ours.

Source: https://github.com/Vchitect/VBench, commit 45e79ec; `VBench.evaluate` writes ``*_eval_results.json``.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fp_metrics.estimator import Score

DIMENSIONS: Final[Mapping[Score, str]] = {
    "clarity": "imaging_quality",
    "aesthetic": "aesthetic_quality",
    "motion": "motion_smoothness",
    "dynamic": "dynamic_degree",
    "semantic": "overall_consistency",
    "anatomy": "Human_Anatomy",
    "identity": "Human_Identity",
}
"""Our seven scores -> VBench's names; the last two are VBench-2.0's, which writes capitals."""
SCORES_OF: Final[Mapping[str, Score]] = {dimension: score for score, dimension in DIMENSIONS.items()}
MEAN_SCALE: Final[Mapping[str, float]] = {"imaging_quality": 100.0}
"""Dimension -> what VBench divides the mean over videos by; a video's own figure stays as it is, 0 to 100."""
NOT_JUDGED: Final[Mapping[str, float]] = {"Human_Identity": -1}
"""Dimension -> what VBench writes for a video that it could not judge, and leaves out of the mean."""
FAMILY = "paper"
PROTOCOL = "VBench's own JSON"


@dataclass(frozen=True)
class VideoResult:
    """One video's figure in one dimension.

    Attributes:
        path: of the video, as VBench was given it.
        value: as it is in the file; a bool in `dynamic_degree`.
        more: what else the file says of the video.
    """

    path: str
    value: float | bool
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DimensionResult:
    """One dimension: the mean over videos as it is in the file, and the videos."""

    dimension: str
    mean: float
    videos: tuple[VideoResult, ...]

    @property
    def score(self) -> Score:
        """Which of the seven scores it is."""
        return SCORES_OF[self.dimension]

    def figure(self, video: VideoResult) -> float:
        """A video's figure in the unit of the family `paper`; NaN where VBench could not judge it."""
        value = float(video.value)
        return math.nan if value == NOT_JUDGED.get(self.dimension) else value

    def mean_of_videos(self) -> float:
        """The mean that VBench would write for these videos; NaN where none was judged."""
        return mean_of_videos(self.dimension, [self.figure(video) for video in self.videos])


@dataclass(frozen=True)
class VBenchResults:
    """A results file.

    Attributes:
        dimensions: those of our seven scores, in the file's order.
        others: dimensions of VBench beyond them, untouched.
        order: all names, as they follow each other in the file.
    """

    dimensions: Mapping[str, DimensionResult]
    others: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain dict per video and score: estimator, score, family, protocol, video, value, reason."""
        return [
            {
                "estimator": f"{FAMILY}/vbench-{result.dimension.lower().replace('_', '-')}",
                "score": result.score,
                "family": FAMILY,
                "protocol": PROTOCOL,
                "video": video.path,
                "value": (value := result.figure(video)),
                "reason": "VBench could not judge this video" if math.isnan(value) else None,
            }
            for result in self.dimensions.values()
            for video in result.videos
        ]


def mean_of_videos(dimension: str, values: Sequence[float]) -> float:
    """VBench's mean of a dimension: over the videos that were judged, imaging quality over 100.

    Args:
        dimension: its name.
        values: one per video, NaN where it could not be judged. All of them so: NaN.
    """
    judged = [value for value in values if not math.isnan(value)]
    return sum(judged) / len(judged) / MEAN_SCALE.get(dimension, 1.0) if judged else math.nan


def results_of(scores: Mapping[Score, Mapping[str, float]]) -> VBenchResults:
    """Our figures as VBench would have written them.

    Args:
        scores: score -> path of a video -> its figure in the unit of the family `paper` (clarity 0 to 100).
            NaN: could not be judged; such a video is left out, but for identity, where VBench writes -1. A
            score without any judged video is left out.

    Raises:
        ValueError: for an unknown score, or a dynamic degree that is neither 0 nor 1.
    """
    results = {}
    for score, figures in scores.items():
        if score not in DIMENSIONS:
            raise ValueError(f"unknown score {score!r}, expected one of {', '.join(DIMENSIONS)}")
        dimension = DIMENSIONS[score]
        mean = mean_of_videos(dimension, list(figures.values()))
        if not math.isnan(mean):
            videos = [_video(dimension, path, value) for path, value in figures.items()]
            found = tuple(video for video in videos if video is not None)
            results[dimension] = DimensionResult(dimension, mean, found)
    return VBenchResults(results, order=tuple(results))


def _video(dimension: str, path: str, value: float) -> VideoResult | None:
    if math.isnan(value):
        return VideoResult(path, NOT_JUDGED[dimension]) if dimension in NOT_JUDGED else None
    if dimension != "dynamic_degree":
        return VideoResult(path, float(value))
    if value not in (0, 1):
        raise ValueError(
            f"got a dynamic degree of {value} for {path}, VBench's is 0 or 1, flow is another figure"
        )
    return VideoResult(path, bool(value))


def read_vbench_json(path: Path) -> VBenchResults:
    """Read a results file.

    Raises:
        ValueError: for a file that is none; says where in it, what is there and what should be.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path} is no VBench results file: it is no file")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeats)
        if not isinstance(entries, dict):
            raise ValueError(f"{_found(entries)}, expected an object of dimensions")
        dimensions = {name: _dimension(name, entries[name]) for name in entries if name in SCORES_OF}
    except RecursionError as error:
        raise ValueError(f"{path} is no VBench results file: its brackets are nested too deeply") from error
    except ValueError as error:  # also what is not UTF-8 and what is not JSON
        raise ValueError(f"{path} is no VBench results file: {error}") from error
    others = {name: entry for name, entry in entries.items() if name not in SCORES_OF}
    return VBenchResults(dimensions, others, tuple(entries))


def write_vbench_json(results: VBenchResults, path: Path) -> None:
    """Write a results file as VBench does: the bytes of a file of VBench's come back as they were."""
    order = [*results.order, *(n for n in (*results.dimensions, *results.others) if n not in results.order)]
    entries = {
        name: _entry(results.dimensions[name]) if name in results.dimensions else results.others[name]
        for name in order
    }
    path.write_text(json.dumps(entries, indent=4), encoding="utf-8")


def _entry(result: DimensionResult) -> list[Any]:
    videos = [
        {"video_path": video.path, "video_results": video.value, **video.more} for video in result.videos
    ]
    return [result.mean, videos]


def _dimension(name: str, entry: Any) -> DimensionResult:
    if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], list)):
        raise ValueError(f"{name}: {_found(entry)}, expected [mean, [videos]]")
    mean, rows = entry
    if not _is_number(mean):
        raise ValueError(f"{name}[0]: {_found(mean)}, expected the mean, a number")
    videos = tuple(_row(f"{name}[1][{i}]", row) for i, row in enumerate(rows))
    for path, count in Counter(video.path for video in videos).items():
        if count > 1:
            raise ValueError(f"{name}: {path!r} is there {count} times, expected each video once")
    return DimensionResult(name, mean, videos)


def _row(place: str, row: Any) -> VideoResult:
    if not isinstance(row, dict) or not {"video_path", "video_results"} <= row.keys():
        raise ValueError(f'{place}: {_found(row)}, expected {{"video_path": ..., "video_results": ...}}')
    more = dict(row)
    path, value = more.pop("video_path"), more.pop("video_results")
    if not isinstance(path, str):
        raise ValueError(f"{place}.video_path: {_found(path)}, expected text")
    if not (_is_number(value) or isinstance(value, bool)):
        raise ValueError(f"{place}.video_results: {_found(value)}, expected a number, true or false")
    return VideoResult(path, value, more)


def _is_number(value: Any) -> bool:
    """A number that a float can hold, NaN included: VBench has no infinite figure."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not abs(value) > sys.float_info.max


def _found(value: Any, most: int = 60) -> str:
    text = json.dumps(value)
    return f"got {text if len(text) <= most else text[:most] + '...'}"


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is there twice")
    return dict(pairs)
