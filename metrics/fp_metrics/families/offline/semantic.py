"""Semantic agreement with the prompt by ConSE: what a classifier sees, in words."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from fp_metrics.estimator import Estimator, Score
from fp_metrics.functional.conse import conse
from fp_metrics.functional.features import cosine
from fp_metrics.networks import efficientnet_lite, minilm
from fp_metrics.networks.efficientnet_lite import Seen
from fp_metrics.observer import About, Observer


class ImageFeatures(Observer):
    """What an ImageNet classifier makes of every fourth frame: its feature and the classes it sees."""

    every: int = 4
    weights: ClassVar[tuple[str, ...]] = (efficientnet_lite.ARTIFACT,)
    settings: ClassVar[dict[str, Any]] = {
        "input": f"centre crop of {efficientnet_lite.CROP} of the shorter side, "
        f"bicubic to {efficientnet_lite.SIDE}, (p - 127) / 128"
    }

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """The frame as the network takes it, ``(3, 224, 224)``."""
        return efficientnet_lite.prepare(frame[None])[0]

    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[Seen]:
        """Feature ``(1, 1280)`` and probabilities ``(1, 1000)`` of each frame."""
        seen = efficientnet_lite.see(torch.stack([window[0] for window in windows]))
        rows = zip(seen.features.split(1), seen.probabilities.split(1), strict=True)
        return [Seen(features, probabilities) for features, probabilities in rows]


class ConseProxy(Estimator):
    """A proxy of semantic agreement: the ImageNet classes of a frame, as text, against the prompt.

    It knows 1000 nouns and nothing of actions, relations, colours or numbers, and people are no class of it.
    Compare it within a video (drift) or over the same prompts; do not read it as the agreement of a
    video-text model.
    """

    score: ClassVar[Score] = "semantic"
    name: ClassVar[str] = "offline/conse-proxy"
    family: ClassVar[str] = "offline"
    unit: ClassVar[str] = "proxy: cosine of class names and prompt, in [-1, 1]"
    observer: ClassVar[type[Observer]] = ImageFeatures
    weights: ClassVar[tuple[str, ...]] = minilm.ARTIFACTS
    top: ClassVar[int] = 10
    """Likeliest classes that are combined, the paper's T."""
    settings: ClassVar[dict[str, Any]] = {"top": top, "class_names": "torchvision, without a template"}

    def __init__(self, about: About | None = None, **kwargs: Any) -> None:
        super().__init__(about, **kwargs)
        self._prompt: Tensor | None = None

    def measure(self, window: Sequence[Seen], position: int) -> float:
        """Cosine of the frame's `conse` embedding with the prompt's."""
        if not self.about.prompt.strip():
            return float("nan")
        if self._prompt is None:
            self._prompt = minilm.embed([self.about.prompt])
        probabilities = window[0].probabilities
        names = class_vectors().to(probabilities.device)
        return float(cosine(conse(probabilities, names, self.top), self._prompt.to(probabilities.device)))

    def undefined(self) -> str:
        """Why."""
        return "needs the prompt of the video"


@functools.cache
def class_vectors() -> Tensor:
    """Embeddings ``(1000, 384)`` of the ImageNet class names."""
    return minilm.embed(efficientnet_lite.class_names())
