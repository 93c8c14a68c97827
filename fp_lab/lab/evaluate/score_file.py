"""Scores of one video file: measured in one decode, stored, and reused while nothing has changed."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_data.atomic import replacing
from fp_data.damaged import DamagedFile, naming_damage, parse_json
from fp_data.open_video import MEGAPIXELS, require_size
from fp_data.read_video import READING, glance, probe, read_video
from fp_lab.checks.ranges import check_once
from fp_lab.lab.evaluate.find_videos import VideoFile
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.names import shown
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.scoring.files import fingerprint, plain
from fp_lab.lab.scoring.score_video import Row
from fp_metrics import About, VideoScores, WrongLength, protocol, score_video
from fp_metrics.observer import USUAL_FPS
from fp_metrics.suite import CHUNK

_SHOWN, _TILE = 10, 96  # frames in a strip, and their height in pixels

_FACTS = {"frames": int, "width": int, "height": int, "fps": float}
"""Facts of every scored file, with their types."""


@dataclass(frozen=True)
class Measuring:
    """Settings of scoring files.

    Attributes:
        families: families of estimators.
        metrics: names of scores or estimators; None: all.
        device: device of the frames, such as cuda.
        megapixels: largest frame size; a larger video is not scored. The results do not depend on it.
    """

    families: tuple[str, ...]
    metrics: tuple[str, ...] | None = None
    device: str = "cpu"
    megapixels: float = MEGAPIXELS

    def __post_init__(self) -> None:
        """Check that no family or metric is named twice."""
        check_once("family", self.families)
        check_once("metrics", self.metrics or ())

    @cached_property
    def key(self) -> str:
        """Hash of the protocol, equal for comparable results."""
        return fingerprint(protocol(self.families, self.metrics))

    def require_size(self, path: Path, height: int, width: int) -> None:
        """Check that frames have no more than `megapixels`.

        Raises:
            ValueError: the frames have more pixels.
        """
        advice = "--megapixels allows more, which takes 0.2 GB of memory each"
        require_size(path, height, width, self.megapixels, advice)


@dataclass(frozen=True)
class FileScores:
    """Scores of one file.

    Attributes:
        frames: rows, one per value.
        videos: rows, one per estimator.
        facts: frames, width, height, fps.
        notes: remarks on the file.
        failure: reason why it was not scored; empty when it was.
    """

    frames: list[Row]
    videos: list[Row]
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()
    failure: str = ""


def find_scores(file: VideoFile, measuring: Measuring, folder: Path) -> FileScores | None:
    """Load earlier scores of the same content and settings, if any."""
    kept = _place(file, folder)
    if file.fault or not kept.is_file():
        return None
    with suppress(DamagedFile), naming_damage(kept):  # a damaged file is as good as none
        found = parse_json(kept.read_bytes())
        if found["key"] == _key(file, measuring):
            frames, videos = ([dict(row) for row in found[kind]] for kind in ("frames", "videos"))
            facts = found["facts"] | {name: kind(found["facts"][name]) for name, kind in _FACTS.items()}
            return FileScores(frames, videos, facts, tuple(found["notes"]))
    return None


def score_file(
    file: VideoFile, measuring: Measuring, folder: Path, advance: Callable[[int], None]
) -> FileScores:
    """Score one file and store the result; failures are recorded, not raised."""
    if file.fault:
        return FileScores([], [], {}, failure=file.fault)
    try:
        key = _key(file, measuring)
        scores, facts, notes, strip = _measure(file, measuring, advance)
    except Exception as error:  # whatever it is: hours of other files are not lost for one
        return FileScores([], [], {}, failure=_in_words(error, file))
    frames = plain(list(scores.to_rows()))
    videos = plain(list(scores.to_summary()))
    with replacing(strip_path(file, folder)) as unfinished:
        unfinished.write_bytes(strip)
    content = {"key": key, "facts": facts, "notes": notes, "frames": frames, "videos": videos}
    write_text(_place(file, folder), json.dumps(content) + "\n")
    return FileScores(frames, videos, facts, notes)


def _in_words(error: Exception, file: VideoFile) -> str:
    if isinstance(error, ValueError):
        return shown(str(error).removeprefix(f"{file.path}: "))
    if isinstance(error, OSError):
        return shown(f"cannot be read: {error.strerror or error}")
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return shown(f"{type(error).__name__}: {error}")


def strip_path(file: VideoFile, folder: Path) -> Path:
    """Path of the strip of a file's frames."""
    return _place(file, folder).with_suffix(".jpg")


def _place(file: VideoFile, folder: Path) -> Path:
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", file.name)[-80:]
    return folder / f"{readable}-{hashlib.sha256(file.name.encode()).hexdigest()[:8]}.json"


def _key(file: VideoFile, measuring: Measuring) -> str:
    with file.path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    described = {"content": content, "prompt": file.prompt, "protocol": measuring.key}
    return digest(described | {"reading": READING})


def _measure(
    file: VideoFile, measuring: Measuring, advance: Callable[[int], None]
) -> tuple[VideoScores, dict[str, Any], tuple[str, ...], bytes]:
    seen = glance(file.path)
    measuring.require_size(file.path, *seen.stored)
    notes = [] if seen.steady else [f"its frame rate varies: scored at its mean of {seen.fps:.4g} per second"]
    if not seen.fps > 0:
        notes.append(f"says no frame rate: taken as {USUAL_FPS:g} per second")
    about = About(seen.fps if seen.fps > 0 else USUAL_FPS, file.prompt)
    frames = _Frames(file.path, seen.frames, measuring, advance)

    def scored(length: int) -> VideoScores:
        return score_video(
            frames, length=length, families=measuring.families, metrics=measuring.metrics, about=about
        )

    try:
        scores = scored(seen.frames)
    except WrongLength:  # packets that show no frame: count what decodes, and look once more
        advance(-frames.count)
        scores = scored(probe(file.path, measuring.megapixels).frames)
    height, width = frames.size
    facts = {"frames": frames.count, "width": width, "height": height, "fps": about.fps}
    return scores, facts, tuple(notes), frames.strip()


class _Frames:
    """A file's frames, float32 ``n 3 h w`` in [0, 1], a few at a time, and a strip of some of them."""

    def __init__(
        self, path: Path, expected: int, measuring: Measuring, advance: Callable[[int], None]
    ) -> None:
        self._path, self._measuring, self._advance = path, measuring, advance
        self._shown = {round(t) for t in np.linspace(0, expected - 1, min(_SHOWN, expected)).tolist()}
        self._tiles: list[NDArray[np.uint8]] = []
        self.count, self.size = 0, (0, 0)

    def __iter__(self) -> Iterator[Tensor]:
        self.count, self._tiles = 0, []
        waiting: list[NDArray[np.uint8]] = []
        for index, frame in enumerate(read_video(self._path)):
            if index and frame.shape[:2] != self.size:
                (height, width), (came_height, came_width) = self.size, frame.shape[:2]
                raise ValueError(
                    f"frame {index} is {came_width}x{came_height}, the ones before are {width}x{height}"
                )
            self.size = frame.shape[0], frame.shape[1]
            self._measuring.require_size(self._path, *self.size)  # as shown, which no header need say
            if index in self._shown:
                self._tiles.append(_tile(frame))
            waiting.append(frame)
            if len(waiting) == CHUNK:
                yield self._batch(waiting)
                waiting = []
        if waiting:
            yield self._batch(waiting)

    def _batch(self, frames: list[NDArray[np.uint8]]) -> Tensor:
        self.count += len(frames)
        self._advance(len(frames))
        pixels = torch.from_numpy(np.stack(frames)).to(self._measuring.device)
        return pixels.movedim(-1, 1).contiguous().to(torch.float32) / 255

    def strip(self) -> bytes:
        """Return a JPEG of evenly spaced frames side by side."""
        gap = np.full((_TILE, 6, 3), 255, dtype=np.uint8)
        parts = [part for tile in self._tiles for part in (tile, gap)][:-1]
        _, encoded = cv2.imencode(".jpg", np.concatenate(parts, 1)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        return encoded.tobytes()


def _tile(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    width = max(1, round(frame.shape[1] * _TILE / frame.shape[0]))
    shrinks = frame.shape[0] > _TILE
    tile = cv2.resize(frame, (width, _TILE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    return np.asarray(tile, dtype=np.uint8)
