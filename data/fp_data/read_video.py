"""One video file in and out, through PyAV.

Frames are uint8 RGB, `h w c` each, as a player shows them: turned and mirrored as the file says, of square
pixels.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from fp_data.display import EXACT_SCALING, Display
from fp_data.open_video import open_video, require_size, require_whole
from fp_data.write_mp4 import write_mp4

__all__ = [
    "READING",
    "Glance",
    "KeyFrame",
    "VideoInfo",
    "glance",
    "probe",
    "read_video",
    "scaled",
    "write_mp4",
]

READING = 2
"""Counts up when other frames, or another rate, are read from the same file."""


@dataclass(frozen=True)
class KeyFrame:
    """A frame at which decoding can start.

    Attributes:
        index: Position in display order, from 0.
        pts: Presentation time in the stream's time base.
    """

    index: int
    pts: int


@dataclass(frozen=True)
class VideoInfo:
    """What decoding a file once from end to end tells about it.

    Attributes:
        path: The file.
        width: Pixels, as displayed.
        height: Pixels, as displayed.
        frames: Number of frames that decode.
        fps: Mean frames per second, see `mean_rate`.
        keyframes: Where decoding can start, so that a late window needs no decoding from frame 0.
    """

    path: str
    width: int
    height: int
    frames: int
    fps: float
    keyframes: tuple[KeyFrame, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Glance:
    """What a file tells without decoding a frame.

    Attributes:
        frames: Packets of its video stream that are shown: nearly always its frames.
        fps: Mean frames per second, see `mean_rate`; 0 where nothing says.
        steady: Whether all frames last equally long (within a tenth).
        stored: Height and width of a stored frame, pixels, as the header says; 0 where it does not.
    """

    frames: int
    fps: float
    steady: bool
    stored: tuple[int, int]


def glance(path: str | Path) -> Glance:
    """Read a video's packets, decode nothing, and say how long it is.

    Raises:
        ValueError: The file cannot be opened, holds no picture, or is cut off.
    """
    times, partial = [], False
    with open_video(path) as (container, stream):
        for packet in container.demux(stream):
            if packet.size:
                partial |= packet.is_corrupt
                if not packet.is_discard:  # an edit list cuts it
                    times.append(packet.pts)
        require_whole(path, stream, partial=partial)
        stored = stream.codec_context.height, stream.codec_context.width
        fps, steady = mean_rate(times, stream.time_base, stream.average_rate), _is_steady(times)
    if not times:
        raise ValueError(f"{path}: holds no frames")
    return Glance(len(times), fps, steady, stored)


def probe(path: str | Path, megapixels: float | None = None) -> VideoInfo:
    """Decode a video once, keeping nothing, and say what it is.

    Args:
        path: of the video.
        megapixels: of a frame, at most; None for `fp_data.open_video.MEGAPIXELS`.

    Raises:
        ValueError: The file cannot be opened or decoded, holds no picture, a frame of it is damaged or too
            large, or it is cut off.
    """
    times: list[int | None] = []
    keyframes, size, partial = [], (0, 0), False
    with open_video(path) as (container, stream):
        require_size(path, stream.codec_context.height, stream.codec_context.width, megapixels)
        for packet in container.demux(stream):
            partial |= packet.size > 0 and packet.is_corrupt
            for frame in packet.decode():
                require_size(path, frame.height, frame.width, megapixels)
                if frame.is_corrupt:
                    raise ValueError(f"{path}: frame {len(times)} is damaged")
                if frame.key_frame and frame.pts is not None:
                    keyframes.append(KeyFrame(len(times), frame.pts))
                if not times:
                    size = Display.of(path, container, stream, frame).size(frame.height, frame.width)
                times.append(frame.pts)
        require_whole(path, stream, partial=partial)
        fps = mean_rate(times, stream.time_base, stream.average_rate)
    if not times:
        raise ValueError(f"{path}: holds no frames")
    height, width = size
    return VideoInfo(str(path), width, height, len(times), fps, tuple(keyframes))


def mean_rate(times: Sequence[int | None], base: Fraction | None, stated: Fraction | None) -> float:
    """Mean frames per second: as the file says if its frames agree, else what their times tell.

    What a file says may be the rate of a camera that dropped frames, or of the first second.

    Args:
        times: Of each frame, in units of `base`, in any order; None where the file gives none.
        base: Seconds.
        stated: Frames per second that the file says.

    Returns:
        The number of steps between frames over the time from the first to the last; of a file that says no
        times the stated rate, or 0.
    """
    known = [time for time in times if time is not None]
    steps, lasts = len(known) - 1, Fraction(max(known, default=0) - min(known, default=0)) * (base or 0)
    if base is None or lasts <= 0 or len(known) < len(times):
        return float(stated or 0)
    if stated and _is_steady(times) and abs(lasts * stated - steps) <= Fraction(steps, 100) + stated * base:
        return float(stated)
    return float(steps / lasts)


def _is_steady(times: Sequence[int | None]) -> bool:
    steps = np.diff(sorted(time for time in times if time is not None))
    return not len(steps) or bool(np.abs(steps - np.median(steps)).max() <= max(1, 0.1 * np.median(steps)))


def read_video(
    video: str | Path | VideoInfo,
    start: int = 0,
    stop: int | None = None,
    step: int = 1,
    *,
    size: tuple[int, int] | None = None,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Stream the frames `start, start + step, ...` below `stop`, one at a time.

    Args:
        video: A path is decoded from its beginning; a `VideoInfo` (from `probe`) from the nearest keyframe.
        start: Index of the first frame wanted.
        stop: Index after the last frame that may be wanted; None reads to the end.
        step: Every how many frames.
        size: Height and width as displayed, to which frames are scaled (bicubic); None keeps the file's.

    Yields:
        uint8 RGB, `h w c`, as displayed.

    Raises:
        ValueError: The file cannot be decoded, or ends before `stop`.
    """
    if start < 0 or step < 1 or (stop is not None and stop <= start):
        raise ValueError(
            f"got start={start}, stop={stop}, step={step}; expected 0 <= start < stop and step >= 1"
        )
    path = video.path if isinstance(video, VideoInfo) else str(video)
    keyframe = None
    if isinstance(video, VideoInfo):
        keyframe = max((k for k in video.keyframes if k.index <= start), key=lambda k: k.index, default=None)
    end = 0
    with closing(_decode_from(path, keyframe)) as decoded:
        for index, frame, display in decoded:
            if frame.is_corrupt:
                raise ValueError(f"{path}: frame {index} is damaged")
            end = index + 1
            if index >= start and (index - start) % step == 0:
                yield display.picture(frame, size)
            if end == stop:
                return
    if stop is not None:
        raise ValueError(f"{path}: ends after {end} frames, asked for frames up to {stop}")


def scaled(picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """A picture at another size (bicubic).

    Args:
        picture: uint8 RGB.
        size: Height and width, pixels.
    """
    if picture.shape[:2] == size:
        return picture
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return frame.to_ndarray(
        format="rgb24", height=size[0], width=size[1], interpolation=EXACT_SCALING, threads=1
    )


def _decode_from(
    path: str, keyframe: KeyFrame | None
) -> Generator[tuple[int, av.VideoFrame, Display], None, None]:
    """Frames with their indices and how they are shown, from a keyframe if seeking finds it."""
    at_once = keyframe is None or keyframe.index == 0
    index, found, display = 0 if keyframe is None else keyframe.index, at_once, None
    with open_video(path) as (container, stream):
        if keyframe is not None and not at_once:
            container.seek(keyframe.pts, stream=stream)
        for frame in container.decode(stream):
            # Frames before the keyframe lean on frames that were never decoded: pass over them.
            found = found or (keyframe is not None and frame.pts == keyframe.pts)
            if found:
                display = display or Display.of(path, container, stream, frame)
                yield index, frame, display
                index += 1
            elif keyframe is not None and (frame.pts is None or frame.pts > keyframe.pts):
                break
    if not found:
        yield from _decode_from(path, None)
