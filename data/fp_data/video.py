"""One video file in and out, through PyAV.

Frames are uint8 RGB, `h w c` each, in display orientation: a phone's rotation flag is applied.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

# libswscale's SWS_BICUBIC | FULL_CHR_H_INT | ACCURATE_RND | BITEXACT: its fast path darkens by one or two
# levels of 255, and its results depend on the processor.
_EXACT_SCALING = 0x4 | 0x2000 | 0x40000 | 0x80000


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
        width: Pixels, as displayed (after rotation).
        height: Pixels, as displayed (after rotation).
        frames: Number of frames that decode.
        fps: Average frames per second, as the container says.
        rotation: Degrees, one of 0, 90, 180, 270: the counter-clockwise turn that reading applies.
        keyframes: Where decoding can start, so that a late window needs no decoding from frame 0.
    """

    path: str
    width: int
    height: int
    frames: int
    fps: float
    rotation: int = 0
    keyframes: tuple[KeyFrame, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Glance:
    """What a file tells without decoding a frame.

    Attributes:
        frames: packets of its video stream: nearly always its frames.
        fps: average frames per second, as the container says; 0 where it does not.
        steady: whether all frames last equally long (within a tenth).
    """

    frames: int
    fps: float
    steady: bool


def glance(path: str | Path) -> Glance:
    """Read a video's packets, decode nothing, and say how long it is.

    Raises:
        ValueError: The file cannot be opened, holds no picture, or ends before its own index says.
    """
    times = []
    try:
        with av.open(path) as container:
            stream = _video_stream(container, path)
            for packet in container.demux(stream):
                if packet.size:
                    times.append(packet.pts)
            promised, rate = stream.frames, stream.average_rate
    except av.FFmpegError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    if not times:
        raise ValueError(f"{path}: holds no frames")
    if len(times) < promised:
        raise ValueError(
            f"{path}: holds {len(times)} frames, its index promises {promised}: the file is cut off"
        )
    steps = np.diff(sorted(time for time in times if time is not None))
    steady = not len(steps) or bool(np.abs(steps - np.median(steps)).max() <= max(1, 0.1 * np.median(steps)))
    return Glance(len(times), float(rate or 0), steady)


def probe(path: str | Path) -> VideoInfo:
    """Decode a video once, keeping nothing, and say what it is.

    Raises:
        ValueError: The file cannot be opened or decoded, holds no picture, a frame of it is damaged, or it
            ends before its own index says.
    """
    frames, packets = 0, 0
    keyframes = []
    width = height = rotation = 0
    try:
        with av.open(path) as container:
            stream = _video_stream(container, path)
            for packet in container.demux(stream):
                packets += packet.size > 0
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise ValueError(f"{path}: frame {frames} is damaged")
                    if frame.key_frame and frame.pts is not None:
                        keyframes.append(KeyFrame(frames, frame.pts))
                    if frames == 0:
                        width, height, rotation = frame.width, frame.height, frame.rotation % 360
                    frames += 1
            promised, rate = stream.frames, stream.average_rate
    except av.FFmpegError as error:
        raise ValueError(f"{path}: cannot be decoded after {frames} frames: {error.strerror}") from error
    if frames == 0:
        raise ValueError(f"{path}: holds no frames")
    if packets < promised:
        raise ValueError(
            f"{path}: holds {packets} frames, its index promises {promised}: the file is cut off"
        )
    if rotation % 90:
        raise ValueError(f"{path}: is rotated by {rotation} degrees, expected a multiple of 90")
    if rotation % 180:
        width, height = height, width
    return VideoInfo(str(path), width, height, frames, float(rate or 0), rotation, tuple(keyframes))


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
        for index, frame in decoded:
            if frame.is_corrupt:
                raise ValueError(f"{path}: frame {index} is damaged")
            end = index + 1
            if index >= start and (index - start) % step == 0:
                yield _picture(frame, size)
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
    return frame.to_ndarray(format="rgb24", height=size[0], width=size[1], interpolation=_EXACT_SCALING)


def write_mp4(path: str | Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float) -> None:
    """Write an H.264 mp4 (yuv420p, visually lossless) that browsers play.

    The file appears under its name only when it is complete. The same frames give the same bytes with the
    same PyAV. H.264 here needs even sides: an odd one is padded by repeating its last row or column.

    Args:
        path: The file to make; its folder is made too.
        frames: uint8 RGB `h w c` one by one, or an array `t h w c`.
        fps: Frames per second.

    Raises:
        ValueError: No frames, or frames that differ in size or are not uint8 `h w 3`.
    """
    path = Path(path)
    every = iter(frames)
    first = next(every, None)
    if first is None:
        raise ValueError(f"{path}: got no frames to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _encode(unfinished, chain([first], every), first.shape, Fraction(fps).limit_denominator(1001))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[np.ndarray], shape: tuple[int, ...], rate: Fraction) -> None:
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"got a frame of shape {shape}, expected (h, w, 3)")
    padding = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        # More threads would make the bytes depend on the machine; x264's macroblock tree makes them depend on
        # what was in memory before, for small frames.
        options = {"crf": "16", "preset": "fast", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate, options=options)
        stream.height, stream.width = shape[0] + padding[0][1], shape[1] + padding[1][1]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            if frame.dtype != np.uint8 or frame.shape != shape:
                raise ValueError(f"got a frame {frame.dtype} {frame.shape}, expected uint8 {shape}")
            even = np.ascontiguousarray(np.pad(frame, padding, mode="edge"))
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            container.mux(stream.encode(picture.reformat(format="yuv420p", interpolation=_EXACT_SCALING)))
        container.mux(stream.encode())


def _video_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    if not container.streams.video:
        raise ValueError(f"{path}: holds no video stream")
    return container.streams.video[0]


def _decode_from(path: str, keyframe: KeyFrame | None) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """Frames with their indices, from a keyframe if seeking finds it, else from the beginning."""
    found = False
    try:
        with av.open(path) as container:
            stream = _video_stream(container, path)
            if keyframe is None or keyframe.index == 0:
                yield from enumerate(container.decode(stream))
                return
            container.seek(keyframe.pts, stream=stream)
            index = keyframe.index
            for frame in container.decode(stream):
                # Frames before the keyframe lean on frames that were never decoded: pass over them.
                found = found or frame.pts == keyframe.pts
                if found:
                    yield index, frame
                    index += 1
                elif frame.pts is None or frame.pts > keyframe.pts:
                    break
    except av.FFmpegError as error:
        raise ValueError(f"{path}: cannot be decoded: {error.strerror}") from error
    if not found:
        yield from _decode_from(path, None)


def _picture(frame: av.VideoFrame, size: tuple[int, int] | None) -> UInt8[np.ndarray, "h w 3"]:
    turns = frame.rotation % 360 // 90
    height, width = size or (None, None)
    if turns % 2:
        height, width = width, height
    picture = frame.to_ndarray(format="rgb24", height=height, width=width, interpolation=_EXACT_SCALING)
    return np.ascontiguousarray(np.rot90(picture, turns)).astype(np.uint8, copy=False)
