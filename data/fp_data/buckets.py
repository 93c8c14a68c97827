"""Aspect-ratio buckets: the few sizes that videos of all shapes are trained at, of nearly equal area."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

from fp_data.counts import check_counts
from fp_data.read_video import VideoInfo, read_video


@dataclass(frozen=True)
class BucketsConfig:
    """Which sizes there are. The defaults give the 14 sizes of the FramePack release (480p).

    Attributes:
        area: Pixels of a frame, at most.
        unit: Both sides are multiples of it, pixels.
        aspect: Long side over short side, at most.
    """

    area: int = 480 * 832
    unit: int = 32
    aspect: float = 2.4

    def __post_init__(self) -> None:
        """Refuse what no size satisfies."""
        check_counts(area=self.area, unit=self.unit)
        if self.area < self.unit**2:
            raise ValueError(
                f"got area={self.area}, unit={self.unit}; expected an area of at least unit x unit pixels"
            )
        if self.aspect < 1:
            raise ValueError(f"got aspect={self.aspect}, expected 1 or more: long side over short side")


@dataclass(frozen=True, order=True)
class Bucket:
    """A size of frames, pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


@dataclass(frozen=True)
class Placement:
    """How a picture fills a bucket: scaled until it covers it, then cut around the centre.

    Attributes:
        height: Of the scaled picture, pixels.
        width: Of the scaled picture, pixels.
        top: First row that is kept.
        left: First column that is kept.
    """

    height: int
    width: int
    top: int
    left: int


def buckets(config: BucketsConfig) -> tuple[Bucket, ...]:
    """All sizes that fit the area and of which neither side can grow by a unit, by height.

    Area: more than `side / (side + unit)` of the wanted one, for the longer side.

    Raises:
        ValueError: No such size has an aspect ratio within the limit.
    """
    area, unit = config.area, config.unit
    heights = range(unit, area // unit + 1, unit)
    fitting = (Bucket(height, area // height // unit * unit) for height in heights)
    largest = [bucket for bucket in fitting if (bucket.height + unit) * bucket.width > area]
    found = tuple(bucket for bucket in largest if _stretch(bucket.height, bucket.width) <= config.aspect)
    if not found:
        raise ValueError(
            f"no size of at most {area} pixels in units of {unit} has an aspect ratio within "
            f"{config.aspect}; allow a larger aspect or area, or a smaller unit"
        )
    return found


def nearest(options: Sequence[Bucket], height: int, width: int) -> Bucket:
    """The bucket nearest in log aspect ratio; of two equally near ones the first.

    Args:
        options: To choose from, as `buckets` gives them.
        height: Of a picture, pixels.
        width: Of a picture, pixels.

    Raises:
        ValueError: No options, or a picture without area.
    """
    if not options or height < 1 or width < 1:
        raise ValueError(
            f"got {len(options)} buckets for a picture of {height}x{width} pixels; expected 1 or more of each"
        )
    return min(options, key=lambda bucket: _stretch(height * bucket.width, width * bucket.height))


def place(height: int, width: int, bucket: Bucket) -> Placement:
    """Scale a picture as little as covers the bucket, and centre it there."""
    scale = max(Fraction(bucket.height, height), Fraction(bucket.width, width))
    rows, columns = round(height * scale), round(width * scale)
    return Placement(rows, columns, (rows - bucket.height) // 2, (columns - bucket.width) // 2)


def read_bucket(
    video: VideoInfo, bucket: Bucket, start: int = 0, stop: int | None = None, step: int = 1
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Stream frames of a video at a bucket's size; as `fp_data.read_video.read_video` otherwise.

    Raises:
        ValueError: The file cannot be decoded, or ends before `stop`.
    """
    at = place(video.height, video.width, bucket)
    rows = slice(at.top, at.top + bucket.height)
    columns = slice(at.left, at.left + bucket.width)
    for frame in read_video(video, start, stop, step, size=(at.height, at.width)):
        yield frame[rows, columns]


def _stretch(a: int, b: int) -> Fraction:
    """The larger over the smaller; exact, so that a size and the same on its side are treated alike."""
    return Fraction(max(a, b), min(a, b))
