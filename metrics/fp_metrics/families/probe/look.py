"""Clarity, aesthetic, anatomy and identity by the probe."""

from collections.abc import Sequence
from typing import Any, ClassVar

from fp_metrics.estimator import Score
from fp_metrics.families.plain import picture as plain
from fp_metrics.families.probe.sight import ProbeEstimator, Reading


class ReadClarity(ProbeEstimator):
    """How sharp and free from noise a frame looks to the probe; near 1 for a clean render.

    The product of two heads, trained on renders with known blur, blocks and noise: the share of the
    gradients' energy that is kept, and the freedom from noise. Frames larger than 64 x 64 are judged at 64 x
    64.
    """

    score: ClassVar[Score] = "clarity"
    name: ClassVar[str] = "probe/clarity-head"
    figures: ClassVar[tuple[str, ...]] = ("sharpness_error", "noise_error")

    def measure(self, window: Sequence[Reading], position: int) -> float:
        """Sharpness times cleanness."""
        return window[0].sharpness * window[0].cleanness


class ColourfulContrast(plain.ColourfulContrast):
    """Colourfulness and contrast, hand-made as in the plain family: the probe has no taste."""

    name: ClassVar[str] = "probe/colourfulness-contrast"
    family: ClassVar[str] = "probe"


class WellFormedHead(ProbeEstimator):
    """How well-formed the object is; 0 where it vanished.

    A head trained to tell the overlap of a dented, squashed, shrunken, broken or merged outline with that of
    the undamaged object. It asks whether this is a whole object of the world, not whether it is the caption's
    shape.
    """

    score: ClassVar[Score] = "anatomy"
    name: ClassVar[str] = "probe/well-formed-head"
    figures: ClassVar[tuple[str, ...]] = ("well_formed_error", "presence_accuracy")

    def measure(self, window: Sequence[Reading], position: int) -> float:
        """The head's value where an object is seen."""
        return window[0].well_formed if window[0].seen else self.unseen


class EmbeddingToFirst(ProbeEstimator):
    """Likeness of the object to that of the first frame given, by embeddings; 0 where it vanished since.

    Embeddings were trained so that their cosine is the likeness of two objects in colour, texture and
    outline, wherever they are. A frozen video reads 1: read the frozen flag beside it.
    """

    score: ClassVar[Score] = "identity"
    name: ClassVar[str] = "probe/embedding-to-first"
    figures: ClassVar[tuple[str, ...]] = ("identity_auc",)
    least_frames = 2
    local: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first: Reading | None = None

    def measure(self, window: Sequence[Reading], position: int) -> float:
        """Cosine of two embeddings, not below 0; NaN where the first frame shows no object."""
        if self._first is None:
            self._first = window[0]
        if not self._first.seen:
            return float("nan")
        if not window[0].seen:
            return float("nan") if self.caption is not None and self.caption.hides else 0.0
        return max(0.0, float(window[0].look @ self._first.look))

    def reset(self) -> None:
        """Forget all frames, the first one too."""
        super().reset()
        self._first = None

    def undefined(self) -> str:
        """Why no frame could be measured."""
        if self._first is not None and not self._first.seen:
            return "no object is seen in the first frame, there is nothing to compare with"
        return super().undefined()
