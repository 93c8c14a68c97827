"""The first and the last 15 % of a video, whose scores drift compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FRACTION = 0.15
"""Share of a video that the first and the last segment take."""

Order = Literal["temporal", "generation"]


@dataclass(frozen=True)
class Segments:
    """The frames whose scores are compared.

    Attributes:
        start: frame indices of the first segment, ascending in video time.
        end: frame indices of the last segment, ascending.
        order: whether "first" means in video time or as the frames were made.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]
    order: Order = "temporal"


def segment(length: int, order: Sequence[int] | None = None, fraction: float = FRACTION) -> Segments:
    """The first and last ``n = max(1, int(fraction * length))`` frames.

    Args:
        length: frames of the video.
        order: frame indices as they were made; frames that were given are left out. None: video time.
        fraction: share of the video per segment.

    Raises:
        ValueError: for an empty video, or an order with repeated or unknown frames.
    """
    if length < 1:
        raise ValueError(f"a video needs at least 1 frame, got length={length}")
    n = max(1, int(fraction * length))
    if order is None:
        return Segments(tuple(range(n)), tuple(range(length - n, length)))
    if len(set(order)) != len(order) or not all(0 <= index < length for index in order) or not order:
        raise ValueError(f"order must name frames of 0..{length - 1}, each at most once, got {list(order)}")
    return Segments(tuple(sorted(order[:n])), tuple(sorted(order[-n:])), "generation")
