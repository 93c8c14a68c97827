"""Any folder of video files as random crops and windows.

Every item is decided by its seed; only the window that is wanted is decoded, straight to its small size.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from fp_data.counts import check_counts
from fp_data.open_video import fault_of
from fp_data.read_video import VideoInfo, glance, probe, read_video, write_mp4

__all__ = [
    "Clip",
    "ClipsConfig",
    "NoVideos",
    "Scan",
    "Skipped",
    "VideoInfo",
    "caption",
    "caption_path",
    "caption_text",
    "probe",
    "read_video",
    "require_window",
    "sample",
    "scan",
    "video_paths",
    "write_mp4",
]

EXTENSIONS = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".ts", ".webm", ".wmv"}
)

_NAMED = 3  # skipped files that a warning names


_LONGEST_CAPTION = 1 << 20  # bytes


@dataclass(frozen=True)
class ClipsConfig:
    """A folder of videos and how windows are cut from it.

    Attributes:
        folder: Searched recursively for video files.
        size: Height and width of a crop, pixels.
        frames: Length of a window.
        stride: Every how many frames of the file.
        zoom: A window's short side is scaled to at most `zoom * size` (and never above the file's own, unless
            that is below `size`) before the crop; 1 always shows the whole short side.
        split: `train` takes windows from each video's beginning, `held_out` from its end, `all` anywhere.
        held_out: Share of each video's frames that lies in its held-out end.
    """

    folder: str
    size: int = 64
    frames: int = 64
    stride: int = 1
    zoom: float = 2.0
    split: Literal["train", "held_out", "all"] = "train"
    held_out: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        check_counts(size=self.size, frames=self.frames, stride=self.stride)
        if self.zoom < 1:
            raise ValueError(
                f"got zoom={self.zoom}, expected 1 or more: a crop is cut from a picture at least its size"
            )
        if not 0 <= self.held_out < 1:
            raise ValueError(f"got held_out={self.held_out}, expected a share in [0, 1)")

    @property
    def span(self) -> int:
        """Frames of the file from a window's first to its last."""
        return (self.frames - 1) * self.stride + 1


class NoVideos(ValueError):
    """A folder of clips that is not there, or in which nothing is called a video."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a folder holds: in the order of the files' names."""

    usable: tuple[VideoInfo, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Clip:
    """A window of a video.

    Attributes:
        frames: uint8 RGB `t h w c`.
        caption: The text beside the file (same name, .txt), or "".
        video: Where the window comes from.
        start: Index of its first frame there.
    """

    frames: UInt8[np.ndarray, "t h w 3"]
    caption: str
    video: VideoInfo
    start: int


def scan(config: ClipsConfig, progress: Callable[[str], None] | None = None) -> Scan:
    """Look at every video file of a folder: which can be used, which cannot, and why.

    Each file is decoded once from end to end, so that damage is found here and not hours into a run.
    One warning names what is skipped; a file whose caption is not UTF-8 is skipped too.

    Args:
        config: The folder, and the window that a video must be long enough for.
        progress: Called with each file's path before it is looked at.

    Raises:
        NoVideos: There is no such folder, or no video in it.
        ValueError: None of its videos can be used.
    """
    folder = Path(config.folder)
    if not folder.is_dir():
        raise NoVideos(f"got folder={config.folder!r}, expected a folder of video files: there is none there")
    files = video_paths(folder)
    usable: list[VideoInfo] = []
    skipped: list[Skipped] = []
    for file in files:
        if progress:
            progress(str(file))
        try:
            caption_text(file)
            video = probe(file)
            _require_length(video, config)
            usable.append(video)
        except ValueError as error:
            skipped.append(Skipped(str(file), str(error).removeprefix(f"{file}: ")))
    if not usable:
        raise (ValueError if files else NoVideos)(_nothing_usable(folder, skipped))
    if skipped:
        warnings.warn(_some_skipped(folder, skipped, len(files)), stacklevel=2)
    return Scan(tuple(usable), tuple(skipped))


def sample(videos: Sequence[VideoInfo], config: ClipsConfig, seed: int) -> Clip:
    """Cut one random window, with one random crop held over all of it.

    Args:
        videos: The usable videos of a `scan` with the same config; each is equally likely.
        config: How to cut.
        seed: Decides the video, the window, the scale and the crop.

    Raises:
        ValueError: No videos, or one that is too short or cannot be decoded any more.
    """
    if not videos:
        raise ValueError("got no videos to cut windows from; scan() a folder for some")
    random = np.random.default_rng(seed)
    video = videos[int(random.integers(len(videos)))]
    part = _require_length(video, config)
    start = int(random.integers(part.start, part.stop - config.span + 1))
    short = min(video.width, video.height)
    largest = max(config.size, min(short, round(config.size * config.zoom)))
    scale = random.integers(config.size, largest + 1) / short
    height, width = (
        max(config.size, round(video.height * scale)),
        max(config.size, round(video.width * scale)),
    )
    top, left = random.integers(height - config.size + 1), random.integers(width - config.size + 1)
    window = read_video(video, start, start + config.span, config.stride, size=(height, width))
    crop = [frame[top : top + config.size, left : left + config.size] for frame in window]
    return Clip(np.stack(crop), caption(video.path), video, start)


def video_paths(folder: Path, unread: Callable[[OSError], None] | None = None) -> tuple[Path, ...]:
    """Every file below a folder that has a video's extension, hidden ones left out; sorted.

    Links to folders are followed; a folder that is met again, such as one above, is not read twice. What is
    no file and has such a name is named too, so that it is missed by nobody.

    Args:
        folder: Where to look.
        unread: Called for each folder that cannot be read; by default it is warned of.
    """
    found: list[Path] = []
    met: set[tuple[int, int]] = set()
    waiting = deque([folder])
    while waiting:
        place = waiting.popleft()
        try:
            state = place.stat()
            if (state.st_dev, state.st_ino) in met:
                continue
            met.add((state.st_dev, state.st_ino))
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            (unread or _warn_of)(error)
            continue
        for entry in entries:
            path = place / entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.appendleft(path)
            elif _leads_to_folder(entry):
                waiting.append(path)  # last, so that a folder has its own name where it has one here
            elif path.suffix.lower() in EXTENSIONS and not entry.name.startswith("."):
                found.append(path)
    return tuple(sorted(found))


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle, or to what cannot be read
        return False


def _warn_of(error: OSError) -> None:
    warnings.warn(f"passed over {error.filename}: {error.strerror}", stacklevel=3)


def caption_path(path: str | Path) -> Path:
    """Where the caption of a video is, whether there is one or not."""
    return Path(path).with_suffix(".txt")


def caption(path: str | Path) -> str:
    """The text of the .txt file beside a video, its white space made single; "" if there is none.

    Raises:
        ValueError: The text is not UTF-8.
    """
    return " ".join((caption_text(path) or "").split())


def caption_text(path: str | Path) -> str | None:
    """The same text as it is written, less a byte order mark; None if there is none.

    Raises:
        ValueError: The text is not UTF-8, cannot be read, is longer than any caption, or no file.
    """
    text = caption_path(path)
    if not os.path.lexists(text):
        return None
    if fault := fault_of(text):
        raise ValueError(f"{text}: the caption {fault}")
    try:
        if (size := text.stat().st_size) > _LONGEST_CAPTION:
            raise ValueError(f"{text}: the caption has {size} bytes, expected {_LONGEST_CAPTION} at most")
        content = text.read_bytes()
    except OSError as error:
        raise ValueError(f"{text}: the caption cannot be read: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{text}: the caption is not UTF-8 text: its byte {error.start + 1} is "
            f"0x{content[error.start]:02x}; save it as UTF-8"
        ) from None


def _require_length(video: VideoInfo, config: ClipsConfig) -> range:
    """The frames of a video that windows may use, if a window fits."""
    boundary = video.frames - round(video.frames * config.held_out)
    part = {
        "train": range(boundary),
        "held_out": range(boundary, video.frames),
        "all": range(video.frames),
    }[config.split]
    if len(part) < config.span:
        raise ValueError(
            f"{video.path}: has {len(part)} frames for split={config.split} (of {video.frames}, "
            f"held_out={config.held_out}), a window of {config.frames} frames at stride {config.stride} "
            f"needs {config.span}"
        )
    return part


def require_window(config: ClipsConfig) -> None:
    """Refuse windows that no video of a folder is long enough for, without decoding one that is.

    Raises:
        ValueError: See `scan`.
    """
    for file in video_paths(Path(config.folder)):
        with suppress(ValueError):
            found = glance(file)
            _require_length(VideoInfo(str(file), 0, 0, found.frames, found.fps), config)
            return
    scan(config)


def _some_skipped(folder: Path, skipped: Sequence[Skipped], files: int) -> str:
    first = "; ".join(f"{s.path}: {s.reason}" for s in skipped[:_NAMED])
    more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
    many = "" if len(skipped) == 1 else f"{len(skipped)} of {files} videos in {folder}: "
    return f"skipped {many}{first}{more}"


def _nothing_usable(folder: Path, skipped: Sequence[Skipped]) -> str:
    listed = "".join(f"\n  {s.path}: {s.reason}" for s in skipped[:10])
    more = f"\n  and {len(skipped) - 10} more" if len(skipped) > 10 else ""
    files = sum(path.is_file() for path in folder.rglob("*"))
    return (
        f"no usable video in {folder}: {files} files, {len(skipped)} of them with a video's extension "
        f"({', '.join(sorted(EXTENSIONS))}){listed}{more}"
    )
