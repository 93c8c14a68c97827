"""Companions of the seven scores where a reference video exists: PSNR, SSIM and LPIPS per frame."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.functional.fidelity import psnr, ssim
from fp_metrics.networks import st_lpips
from fp_metrics.series_metric import SeriesMetric, check_frames
from fp_metrics.weights import weights_path


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
        values = [self.agree(frame[None], true[None]) for frame, true in zip(frames, reference, strict=True)]
        positions = range(self.frames, self.frames + len(values))
        self.keep(values, positions, positions)

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


class Learned(Companion):
    """A companion with weights; where they are missing, all its values are NaN, and its reason says so.

    Attributes:
        weights: names of the artifacts it loads, see `fp_metrics.weights`.
    """

    unit: ClassVar[str] = "distance, at least 0"
    higher_is_better = False
    weights: ClassVar[tuple[str, ...]]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._missing = self.unavailable()

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here, with the command that helps; None if it can."""
        for name in cls.weights:
            try:
                weights_path(name)
            except ValueError as missing:
                return str(missing)
        return None

    @abstractmethod
    def network(self) -> st_lpips.PerceptualDistance:
        """The trained network."""

    def agree(self, frame: Tensor, reference: Tensor) -> float:
        """Distance of one frame from its reference."""
        if self._missing is not None:
            return float("nan")
        with torch.inference_mode():
            return float(self.network().to(frame.device)(frame, reference))

    def undefined(self) -> str:
        """What is missing."""
        return super().undefined() if self._missing is None else self._missing


class Lpips(Learned):
    """LPIPS 0.1 on AlexNet per frame."""

    name: ClassVar[str] = "companion/lpips"
    weights: ClassVar[tuple[str, ...]] = (st_lpips.LPIPS_BACKBONE,)

    def network(self) -> st_lpips.PerceptualDistance:
        """LPIPS, loaded once per process."""
        return st_lpips.load_lpips()


class StLpips(Learned):
    """Shift-tolerant LPIPS on AlexNet per frame; its distances are of another scale than LPIPS's."""

    name: ClassVar[str] = "companion/st-lpips"
    weights: ClassVar[tuple[str, ...]] = (st_lpips.ST_LPIPS,)

    def network(self) -> st_lpips.PerceptualDistance:
        """ST-LPIPS, loaded once per process."""
        return st_lpips.load_st_lpips()


COMPANIONS: dict[str, type[Companion]] = {companion.name: companion for companion in (Psnr, Ssim)}
"""Companion name -> class; those that always run."""

LEARNED_COMPANIONS: dict[str, type[Learned]] = {companion.name: companion for companion in (Lpips, StLpips)}
"""Companion name -> class; those that need weights."""
