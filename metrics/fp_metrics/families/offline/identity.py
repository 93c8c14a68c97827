"""Identity: each frame's face, or its general feature, against the first one."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.families.offline.semantic import ImageFeatures
from fp_metrics.functional.features import cosine
from fp_metrics.networks import faces
from fp_metrics.networks.efficientnet_lite import Seen
from fp_metrics.observer import Observer
from fp_metrics.series import Series


class ToFirst(Estimator):
    """Likeness to the first looked-at frame that shows something to compare with.

    Run on a segment alone, it compares within that segment, as the paper's drift does. The first one reads 1
    and is left out of the score. A frozen video reads 1: read the frozen flag beside it.
    """

    score: ClassVar[Score] = "identity"
    family: ClassVar[str] = "offline"
    local: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first: Tensor | None = None

    @abstractmethod
    def look_at(self, seen: Any) -> Tensor | None:
        """The vector that is compared; None where the frame has none."""

    @abstractmethod
    def likeness(self, first: Tensor, other: Tensor) -> float:
        """Of two such vectors; 1 for equal ones."""

    def measure(self, window: Sequence[Any], position: int) -> float:
        """`likeness` to the first vector; NaN for a frame without one."""
        vector = self.look_at(window[0])
        if vector is None:
            return float("nan")
        if self._first is None:
            self._first = vector
        return self.likeness(self._first, vector)

    def summarise(self, values: NDArray[np.float64], positions: NDArray[np.int64], frames: int) -> Series:
        """The series whose score does not count the first vector's likeness to itself."""
        compared = values.copy()
        compared[np.flatnonzero(np.isfinite(values))[:1]] = np.nan
        return replace(super().summarise(compared, positions, frames), values=values)

    def reset(self) -> None:
        """Forget all frames, the first one too."""
        super().reset()
        self._first = None


class FeatureToFirst(ToFirst):
    """General feature similarity, no person's identity: the EfficientNet feature against the first frame's.

    It falls when another scene or subject takes over, and also, by less, with blur, noise and camera motion.
    """

    name: ClassVar[str] = "offline/feature-to-first"
    observer: ClassVar[type[Observer]] = ImageFeatures
    least_frames = ImageFeatures.every + 1

    def look_at(self, seen: Seen) -> Tensor:
        """The pooled feature."""
        return seen.features

    def likeness(self, first: Tensor, other: Tensor) -> float:
        """Cosine; features are not negative."""
        return float(cosine(first, other))


class Faces(Observer):
    """The face embedding of every fourth frame that shows exactly one frontal face."""

    every: int = 4
    weights: ClassVar[tuple[str, ...]] = faces.ARTIFACTS
    settings: ClassVar[dict[str, Any]] = {
        "shorter_side": faces.SIDE,
        "detector": "dlib frontal HOG",
        "faces": 1,
    }

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[Tensor | None]:
        """The embedding ``(128,)`` of each frame, or None."""
        return [faces.embed_single_face(window[0]) for window in windows]


class DlibFaceToFirst(ToFirst):
    """The face of each frame against the first face.

    The likeness is ``1 - d / 1.2``, at least 0, of the distance d of the embeddings: dlib's threshold for the
    same person, d = 0.6, reads 0.5, and d can be read back. The score is the mean over frames with exactly
    one face; how many those are is its coverage.
    """

    name: ClassVar[str] = "offline/dlib-face-to-first"
    unit: ClassVar[str] = "[0, 1]; same person above 0.5"
    observer: ClassVar[type[Observer]] = Faces
    least_frames = 21

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot run here; None if it can."""
        return faces.unavailable()

    def look_at(self, seen: Tensor | None) -> Tensor | None:
        """The embedding."""
        return seen

    def likeness(self, first: Tensor, other: Tensor) -> float:
        """From the Euclidean distance."""
        distance = float(torch.linalg.vector_norm(first - other))
        return max(0.0, 1 - distance / (2 * faces.SAME_PERSON))

    def undefined(self) -> str:
        """Why."""
        return "no face: needs exactly one frontal face in at least two of the looked-at frames"
