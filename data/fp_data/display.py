"""How the stored pixels of a video or a picture become what is shown: square pixels, turned and mirrored."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

# libswscale's SWS_BICUBIC | FULL_CHR_H_INT | ACCURATE_RND | BITEXACT: its fast path darkens by one or two
# levels of 255, and its results depend on the processor.
EXACT_SCALING = 0x4 | 0x2000 | 0x40000 | 0x80000

_EXIF_ORIENTATION = 0x0112
_ALIGNED = 0.01  # of a display matrix: how far its axes may be off


@dataclass(frozen=True)
class Display:
    """From stored to shown pixels; in this order.

    Attributes:
        aspect: Width of a stored pixel over its height.
        transposed: Rows become columns.
        upside_down: The order of rows is reversed.
        mirrored: The order of columns is reversed.
    """

    aspect: Fraction = Fraction(1)
    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    @classmethod
    def of(
        cls,
        path: str | Path,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        frame: av.VideoFrame,
    ) -> "Display":
        """As the first frame of a file, the stream and, for pictures, the EXIF data say.

        Raises:
            ValueError: The file is turned by an angle that is no multiple of 90 degrees.
        """
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if container.format.name == "image2" or container.format.name.endswith("_pipe"):
            return cls(aspect, *_EXIF.get(_exif_orientation(path), ()))
        return cls(aspect, *_turns(path, _matrix(frame)))

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width as shown, of stored ones."""
        width = max(1, round(width * self.aspect))
        return (width, height) if self.transposed else (height, width)

    def picture(self, frame: av.VideoFrame, size: tuple[int, int] | None) -> UInt8[np.ndarray, "h w 3"]:
        """A frame as shown, scaled (bicubic) to a height and width as shown; None: those of the file."""
        height, width = size or self.size(frame.height, frame.width)
        if self.transposed:
            height, width = width, height
        picture = frame.to_ndarray(
            format="rgb24", height=height, width=width, interpolation=EXACT_SCALING, threads=1
        )
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        if self.upside_down:
            picture = picture[::-1]
        if self.mirrored:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(picture).astype(np.uint8, copy=False)


Orientation = tuple[bool, bool, bool]
"""Transposed, upside down, mirrored."""

_EXIF: dict[int, Orientation] = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def _exif_orientation(path: str | Path) -> int:
    # not the frame's side data: PyAV 18 cannot name that of EXIF
    try:
        with Image.open(path) as picture:
            return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except (OSError, ValueError, UnidentifiedImageError):
        return 1


def _matrix(frame: av.VideoFrame) -> np.ndarray:
    """The display matrix, ISO 14496-12 6.2.2: (x, y) is shown at (x m00 + y m10, x m01 + y m11)."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    return np.eye(2) if data is None else np.frombuffer(bytes(data), np.int32).reshape(3, 3)[:2, :2] / 65536


def _turns(path: str | Path, matrix: np.ndarray) -> Orientation:
    along, across = np.abs(np.diag(matrix)).sum(), np.abs(np.diag(matrix[::-1])).sum()
    if across <= _ALIGNED * along:
        return False, bool(matrix[1, 1] < 0), bool(matrix[0, 0] < 0)
    if along <= _ALIGNED * across:
        return True, bool(matrix[0, 1] < 0), bool(matrix[1, 0] < 0)
    angle = np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0]))
    raise ValueError(f"{path}: is rotated by {angle:.0f} degrees, expected a multiple of 90")
