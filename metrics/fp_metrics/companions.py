"""Companions of the seven scores where a reference video exists: PSNR and SSIM per frame."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from fp_metrics.functional.fidelity import psnr, ssim
from fp_metrics.series_metric import SeriesMetric, check_frames


class Companion(SeriesMetric):
    """Compares each frame with the same frame of a reference video."""

    def update(self, frames: Tensor, reference: Tensor) -> None:
        """Take the next frames of both videos.

        Args:
            frames: float32 ``(n, 3, h, w)`` in [0, 1].
            reference: of the same shape and range.

        Raises:
            ValueError: for another shape, type or range.
        """
        check_frames(frames)
        check_frames(reference)
        if frames.shape != reference.shape:
            raise ValueError(
                f"got frames {tuple(frames.shape)} and reference {tuple(reference.shape)}, expected equal"
            )
        first = int(self.frames)
        values = [self.agree(frame[None], true[None]) for frame, true in zip(frames, reference, strict=True)]
        self.keep(values, range(first, first + len(values)), len(values))

    @abstractmethod
    def agree(self, frame: Tensor, reference: Tensor) -> float:
        """Agreement of one frame with its reference, both ``(1, 3, h, w)``."""


class Psnr(Companion):
    """Peak signal-to-noise ratio per frame; the score is the mean of the decibels, equal frames read 100."""

    name: ClassVar[str] = "companion/psnr"
    unit: ClassVar[str] = "dB, at most 100"

    def agree(self, frame: Tensor, reference: Tensor) -> float:
        """`psnr` of one frame."""
        return float(psnr(frame, reference))


class Ssim(Companion):
    """Structural similarity per frame."""

    name: ClassVar[str] = "companion/ssim"
    unit: ClassVar[str] = "[-1, 1]"

    def agree(self, frame: Tensor, reference: Tensor) -> float:
        """`ssim` of one frame."""
        return float(ssim(frame, reference))


COMPANIONS: dict[str, type[Companion]] = {companion.name: companion for companion in (Psnr, Ssim)}
"""Companion name -> class."""
