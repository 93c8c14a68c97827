"""Video files that people have and that are not what they should be."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

Frame = np.ndarray


def moving(count: int, height: int = 48, width: int = 64, seed: int = 0) -> list[Frame]:
    """A blob that goes round over a texture: uint8 ``h w 3``."""
    y, x = np.indices((height, width))
    ground = np.random.default_rng(seed).integers(60, 120, (height // 8 + 1, width // 8 + 1, 3))
    ground = ground.repeat(8, 0).repeat(8, 1)[:height, :width]
    frames = []
    for t in range(count):
        frame = ground.copy()
        centre = width / 2 + width / 4 * np.cos(t / 4 + seed), height / 2 + height / 4 * np.sin(t / 4 + seed)
        frame[np.hypot(x - centre[0], y - centre[1]) < height / 6] = (220, 200, 40)
        frames.append(frame.astype(np.uint8))
    return frames


def write(
    path: Path,
    frames: Sequence[Frame],
    *,
    fps: int = 8,
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    times: Iterable[int] | None = None,
) -> Path:
    """Write with any codec, pixel format and, in ticks of 1/1000 s, any times."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for frame, time in zip(frames, times or range(len(frames)), strict=False):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pix_fmt)
            if times is not None:
                picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return path
