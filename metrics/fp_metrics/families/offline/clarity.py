"""Clarity by natural-scene statistics: NIQE, without any opinions, and BRISQUE, trained on opinions."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.brisque import LEAST_SIDE, brisque_features, brisque_score
from fp_metrics.functional.natural_scene import grey_levels
from fp_metrics.functional.niqe import PATCH, PristineModel, niqe, studio_levels
from fp_metrics.networks.libsvm import SupportVectorRegression
from fp_metrics.observer import Observer, Unmeasurable
from fp_metrics.weights import weights_path

NIQE_ARTIFACT, BRISQUE_ARTIFACT = "niqe-parameters", "brisque-svm"
NIQE_LEAST_SIDE = 194
"""Two patches each way, and a border around them: with fewer patches their covariance says little."""


class Niqe(Observer):
    """NIQE of every frame.

    One frame at a time: a value does not depend on what else is looked at, and a frame stays in the
    processor's cache. BRISQUE rounds and borders local means in another way, so the two share no picture.
    """

    weights: ClassVar[tuple[str, ...]] = (NIQE_ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {
        "luma": "BT.601, studio range, rounded",
        "patch": PATCH,
        "least_side": NIQE_LEAST_SIDE,
    }

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """Grey levels ``(1, h, w)``.

        Raises:
            Unmeasurable: the frame is smaller than 194x194.
        """
        height, width = frame.shape[-2:]
        if min(height, width) < NIQE_LEAST_SIDE:
            raise Unmeasurable(
                f"NIQE needs frames of at least {NIQE_LEAST_SIDE}x{NIQE_LEAST_SIDE} pixels, "
                f"got {height}x{width}; use larger frames, or offline/brisque for these"
            )
        return studio_levels(frame[None])

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[float]:
        """NIQE of each frame; NaN where fewer than two patches have any contrast.

        Raises:
            MissingWeights: the artifact `niqe-parameters` is not there.
        """
        model = load_niqe(windows[0][0].device)
        return [float(niqe(levels, model)) for (levels,) in windows]


class Brisque(Observer):
    """BRISQUE of every frame, one at a time."""

    weights: ClassVar[tuple[str, ...]] = (BRISQUE_ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {
        "luma": "BT.601, full range, rounded to 8 bits",
        "features": "OpenCV's",
        "least_side": LEAST_SIDE,
    }

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """Grey levels ``(1, h, w)``.

        Raises:
            Unmeasurable: the frame is smaller than 16x16.
        """
        height, width = frame.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise Unmeasurable(
                f"BRISQUE needs frames of at least {LEAST_SIDE}x{LEAST_SIDE} pixels, got {height}x{width}"
            )
        return grey_levels(frame[None])

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[float]:
        """BRISQUE of each frame; NaN for a flat one.

        Raises:
            MissingWeights: the artifact `brisque-svm` is not there.
        """
        regression = load_brisque(windows[0][0].device)
        return [float(brisque_score(brisque_features(levels), regression)) for (levels,) in windows]


class NiqeClarity(Estimator):
    """How far a frame's statistics are from those of pristine photographs.

    Rises with blur, noise and compression. Drawings and renders are far from photographs to begin with:
    compare within a video (drift) or over the same prompts.
    """

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "offline/niqe"
    family: ClassVar[str] = "offline"
    unit: ClassVar[str] = "NIQE, at least 0, lower is better"
    higher_is_better = False
    observer: ClassVar[type[Observer]] = Niqe

    def measure(self, window: Sequence[float], position: int) -> float:
        """NIQE of the frame."""
        return window[0]

    def undefined(self) -> str:
        """Why."""
        return f"no frame has two patches of {PATCH}x{PATCH} pixels with contrast all over"


class BrisqueClarity(Estimator):
    """Difference of opinion scores, predicted by a regression trained on the LIVE photographs.

    Rises with blur, noise and compression.
    """

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "offline/brisque"
    family: ClassVar[str] = "offline"
    unit: ClassVar[str] = "BRISQUE, 0 to 100, lower is better"
    higher_is_better = False
    observer: ClassVar[type[Observer]] = Brisque

    def measure(self, window: Sequence[float], position: int) -> float:
        """BRISQUE of the frame."""
        return window[0]

    def undefined(self) -> str:
        """Why."""
        return "every frame is flat: of one grey level only"


@functools.cache
def load_niqe(device: torch.device) -> PristineModel:
    """The pristine model; once per process and device.

    Raises:
        MissingWeights: the artifact `niqe-parameters` is not in the cache.
    """
    return PristineModel.load(weights_path(NIQE_ARTIFACT)).to(device)


@functools.cache
def load_brisque(device: torch.device) -> SupportVectorRegression:
    """The regression; once per process and device.

    Raises:
        MissingWeights: the artifact `brisque-svm` is not in the cache.
    """
    return SupportVectorRegression.load(weights_path(BRISQUE_ARTIFACT)).to(device)
