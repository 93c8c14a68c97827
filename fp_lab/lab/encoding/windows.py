"""Plan of the windows of a folder's videos: made once, stored, and the same in every later run."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fp_data.buckets import Bucket, BucketsConfig, buckets, nearest
from fp_data.clips import Skipped, caption, video_paths
from fp_data.damaged import reading_format
from fp_data.read_video import KeyFrame, VideoInfo, probe
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.digests import file_digests
from fp_lab.weights.files import file_sha256

CLIPS = "clips.json"
"""File name of a plan, beside the shards."""
_FORMAT = 1


@dataclass(frozen=True)
class Cutting:
    """Cutting of windows: one after the other from a video's first frame on, each at its bucket's size.

    Attributes:
        frames: Length of a window.
        stride: Step between frames of the file.
        buckets: Possible sizes of windows.
    """

    frames: int = 73
    stride: int = 1
    buckets: BucketsConfig = field(default_factory=BucketsConfig)

    @property
    def span(self) -> int:
        """Number of the file's frames from a window's first to its last."""
        return (self.frames - 1) * self.stride + 1


@dataclass(frozen=True)
class PlannedVideo:
    """A video at the time when the plan was made.

    Attributes:
        info: Facts from decoding; the path is relative to the folder.
        size: Size of the file, bytes.
        sha256: Digest of the file.
        caption: Text of the .txt beside the file, or "".
    """

    info: VideoInfo
    size: int
    sha256: str
    caption: str


@dataclass(frozen=True)
class Window:
    """A part of a video that becomes one sample.

    Attributes:
        video: Path of the video.
        bucket: Size that frames are scaled to.
        start: Index of the first frame.
        stop: Index after the last frame.
        stride: Step between frames.
    """

    video: PlannedVideo
    bucket: Bucket
    start: int
    stop: int
    stride: int

    def __str__(self) -> str:
        step = "" if self.stride == 1 else f":{self.stride}"
        return f"{self.video.info.path}[{self.start}:{self.stop}{step}]"


@dataclass(frozen=True)
class ClipPlan:
    """Plan of the windows of a folder's videos.

    Attributes:
        cutting: Cutting of the windows.
        videos: Videos that can be read and are long enough, by path.
        skipped: Other videos, with the reason.
        unread: Windows that could no longer be read when they were to be encoded.
    """

    cutting: Cutting
    videos: tuple[PlannedVideo, ...]
    skipped: tuple[Skipped, ...]
    unread: tuple[Skipped, ...] = ()

    @classmethod
    def make(
        cls, folder: Path, cutting: Cutting, progress: Callable[[int, str], None] | None = None
    ) -> "ClipPlan":
        """Plan from all videos of a folder, read from end to end to find damage before anything is encoded.

        Args:
            folder: Folder of videos, searched recursively.
            cutting: Cutting of the windows, which sets the least length of a video.
            progress: Called with the number of videos read and the path of the last one.

        Raises:
            ValueError: There is no such folder, or no usable video in it.
        """
        if not folder.is_dir():
            raise ValueError(f"got folder={str(folder)!r}, expected a folder of videos: there is none")
        names = video_files(folder)
        videos, skipped = [], []
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding lets other threads run
            looked_at = pool.map(lambda name: _look(folder, name, cutting), names)
            for seen, (name, found) in enumerate(zip(names, looked_at, strict=True), start=1):
                if isinstance(found, Skipped):
                    skipped.append(found)
                else:
                    videos.append(found)
                if progress:
                    progress(seen, name)
        if not videos:
            listed = "".join(f"\n  {skip.path}: {skip.reason}" for skip in skipped[:10])
            raise ValueError(f"no usable video in {folder}, of {len(names)} that are named as one{listed}")
        return cls(cutting, tuple(videos), tuple(skipped))

    @cached_property
    def planned(self) -> tuple[Window, ...]:
        """All windows by bucket, video and start, unread ones included."""
        cut, options = self.cutting, buckets(self.cutting.buckets)
        windows = [
            Window(video, bucket, start, start + cut.span, cut.stride)
            for video in self.videos
            for bucket in [nearest(options, video.info.height, video.info.width)]
            for start in range(0, video.info.frames - cut.span + 1, cut.frames * cut.stride)
        ]
        return tuple(
            sorted(windows, key=lambda window: (window.bucket, window.video.info.path, window.start))
        )

    @property
    def windows(self) -> tuple[Window, ...]:
        """Windows to encode."""
        unread = {skip.path for skip in self.unread}
        return tuple(window for window in self.planned if str(window) not in unread)

    @property
    def sha256(self) -> str:
        """Digest of the plan: contents and captions of videos, windows, sizes, and their order."""
        told = [(str(w), w.video.sha256, w.video.caption, str(w.bucket)) for w in self.planned]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def without(self, window: Window, reason: str) -> "ClipPlan":
        """Return the plan without a window."""
        return replace(self, unread=(*self.unread, Skipped(str(window), reason)))

    def require_videos(self, folder: Path) -> None:
        """Check that the folder is the planned one and its disk is mounted.

        Raises:
            ValueError: None of the videos is there.
        """
        if not any((folder / video.info.path).is_file() for video in self.videos):
            raise ValueError(
                f"{folder} has none of the {len(self.videos)} videos that the cache was begun with, "
                f"{self.videos[0].info.path} the first; give their folder, or another one for the cache"
            )

    def new_in(self, folder: Path) -> tuple[str, ...]:
        """List videos of a folder that were added after the plan was made."""
        known = {video.info.path for video in self.videos} | {skip.path for skip in self.skipped}
        return tuple(name for name in video_files(folder) if name not in known)

    def changed_in(self, folder: Path) -> tuple[str, ...]:
        """List videos of a folder whose content or caption has changed since the plan was made."""
        with file_digests() as digest:
            return tuple(
                video.info.path
                for video in self.videos
                if (path := folder / video.info.path).is_file()
                and (digest(path) != video.sha256 or _caption(path) != video.caption)
            )

    def save(self, path: Path) -> None:
        """Write to a JSON file, in one step."""
        write_text(path, json.dumps({"format": _FORMAT} | asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "ClipPlan":
        """Read a file written by `save`.

        Raises:
            ValueError: The file is damaged or of another format.
        """
        with reading_format(path, _FORMAT, "run the command that made the cache again") as stored:
            cutting = stored["cutting"] | {"buckets": BucketsConfig(**stored["cutting"]["buckets"])}
            skipped, unread = (
                tuple(Skipped(**skip) for skip in stored[key]) for key in ("skipped", "unread")
            )
            return cls(Cutting(**cutting), tuple(map(_video, stored["videos"])), skipped, unread)


def video_files(folder: Path) -> tuple[str, ...]:
    """List the relative paths of all videos in a folder, sorted."""
    return tuple(sorted(path.relative_to(folder).as_posix() for path in video_paths(folder)))


def _caption(path: Path) -> str | None:
    try:
        return caption(path)
    except ValueError:
        return None


def _look(folder: Path, name: str, cutting: Cutting) -> PlannedVideo | Skipped:
    path = folder / name
    try:
        info = probe(path)
        if info.frames < cutting.span:
            raise ValueError(
                f"has {info.frames} frames, a window of {cutting.frames} at stride {cutting.stride} needs "
                f"{cutting.span}"
            )
        return PlannedVideo(replace(info, path=name), path.stat().st_size, file_sha256(path), caption(path))
    except (ValueError, OSError) as error:
        return Skipped(name, str(error).removeprefix(f"{path}: "))


def _video(stored: Mapping[str, Any]) -> PlannedVideo:
    info = {name: value for name, value in stored["info"].items() if name != "rotation"}  # of older plans
    keyframes = tuple(KeyFrame(**keyframe) for keyframe in info["keyframes"])
    return PlannedVideo(**{**stored, "info": VideoInfo(**info | {"keyframes": keyframes})})
