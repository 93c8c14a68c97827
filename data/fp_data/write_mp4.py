"""Frames to an H.264 mp4 that says what its colours are."""

import hashlib
import os
from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from jaxtyping import UInt8

from fp_data.atomic import to_disk
from fp_data.display import EXACT_SCALING


def _matrix(height: int, width: int) -> Colorspace:
    """That which players assume of a size where they do not look at the tags."""
    return Colorspace.ITU709 if height > 576 or width >= 1280 else Colorspace.ITU601


def write_mp4(path: str | Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float) -> None:
    """Write an H.264 mp4 (yuv420p, visually lossless) that browsers play, tagged with matrix and range.

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
    unfinished = path.with_name(
        f".{os.getpid()}.{hashlib.sha256(path.name.encode(errors='replace')).hexdigest()[:8]}.tmp"
    )
    try:
        _encode(unfinished, chain([first], every), first.shape, Fraction(fps).limit_denominator(1001))
        to_disk(unfinished)
        unfinished.replace(path)
        to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(path: Path, frames: Iterable[np.ndarray], shape: tuple[int, ...], rate: Fraction) -> None:
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"got a frame of shape {shape}, expected (h, w, 3)")
    padding = ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0))
    # "file:", or the text before a colon of the name would be a protocol
    with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
        # More threads would make the bytes depend on the machine; x264's macroblock tree makes them depend on
        # what was in memory before, for small frames.
        options = {"crf": "16", "preset": "fast", "threads": "1", "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate, options=options)
        stream.height, stream.width = shape[0] + padding[0][1], shape[1] + padding[1][1]
        stream.pix_fmt = "yuv420p"
        told = stream.codec_context
        told.colorspace, told.color_range = _matrix(stream.height, stream.width), ColorRange.MPEG
        told.color_primaries, told.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for frame in frames:
            if frame.dtype != np.uint8 or frame.shape != shape:
                raise ValueError(f"got a frame {frame.dtype} {frame.shape}, expected uint8 {shape}")
            even = np.ascontiguousarray(np.pad(frame, padding, mode="edge"))
            picture = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=_matrix(stream.height, stream.width),
                dst_color_range=ColorRange.MPEG,
                interpolation=EXACT_SCALING,
                threads=1,
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
