"""What all estimators of the probe share: what it reads in each frame, and how good it is at that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.estimator import Estimator
from fp_metrics.families.probe.held_out import accuracy_of
from fp_metrics.functional.captions import COLOURS, EXAMPLE, SHAPES, TEXTURES, WorldCaption, read_caption
from fp_metrics.networks.probe import SIZE, Probe, shipped_probe, shipped_sha256
from fp_metrics.observer import Observer, Unmeasurable

VISIBLE = 0.25
"""An object of which at most this share shows is not seen, as in the family ``world``."""

TURNS_WITHIN = 21.0
"""Pixels from the border within which an object's centre may turn round: the world's largest radius, four by
which a triangle's centre of gravity lies below its middle, and two steps."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What the probe reads in one frame.

    Attributes:
        visible: share of the object that shows, [0, 1].
        centre: (x, y) of what shows of it, in pixels of a frame of 64 x 64.
        well_formed: overlap of its outline with that of an undamaged object, [0, 1].
        shape: the likeliest of `SHAPES`.
        colour: the likeliest of `COLOURS`.
        texture: the likeliest of `TEXTURES`.
        sharpness: share of the gradients' energy that the frame has kept, [0, 1].
        cleanness: freedom from noise, [0, 1]; a half at a standard deviation of 0.05.
        look: embedding of the object, length 1, ``(32,)``.
    """

    visible: float
    centre: tuple[float, float]
    well_formed: float
    shape: str
    colour: str
    texture: str
    sharpness: float
    cleanness: float
    look: Tensor

    @property
    def seen(self) -> bool:
        """Whether there is an object."""
        return self.visible > VISIBLE


class _ShippedSettings:
    """`Observer.settings` that are made when they are asked for: the digest needs the file."""

    def __get__(self, instance: object, owner: type | None = None) -> dict[str, Any]:
        return {"size": SIZE, "visible": VISIBLE, "probe": shipped_sha256()}


class ProbeSight(Observer):
    """The probe's reading of each frame, resized to 64 x 64."""

    settings = _ShippedSettings()

    @classmethod
    def network(cls) -> Probe:
        """The probe that reads."""
        return shipped_probe()

    def keep(self, frame: Tensor, position: int) -> Tensor:
        """The frame at 64 x 64, averaged over areas.

        Raises:
            Unmeasurable: for frames that are not square: no render of the world is like that.
        """
        height, width = frame.shape[-2:]
        if height != width:
            raise Unmeasurable(
                f"got frames of {height}x{width}, expected square ones as renders of the synthetic world are"
            )
        if height == SIZE:
            return frame
        mode = "area" if height > SIZE else "bilinear"
        return F.interpolate(frame[None], size=(SIZE, SIZE), mode=mode)[0]

    @torch.inference_mode()
    def look(self, windows: Sequence[Sequence[Tensor]], starts: Sequence[int]) -> list[Reading]:
        """One reading per frame; the network takes all of them as one batch."""
        frames = torch.stack([window[0] for window in windows])
        return read(self.network().to(frames.device), frames)


def read(network: Probe, frames: Tensor) -> list[Reading]:
    """Readings of frames ``(n, 3, 64, 64)``."""
    out = network(frames)
    kept, clean = out.clarity.sigmoid().unbind(1)
    numbers = torch.stack((out.visible.sigmoid(), out.well_formed.sigmoid(), kept, clean), 1).tolist()
    names = torch.stack([head.argmax(1) for head in (out.shape, out.colour, out.texture)], 1).tolist()
    return [
        Reading(
            visible, (x, y), formed, SHAPES[shape], COLOURS[colour], TEXTURES[texture], sharp, clear, look
        )
        for (visible, formed, sharp, clear), (shape, colour, texture), (x, y), look in zip(
            numbers, names, out.centre.tolist(), out.embedding, strict=True
        )
    ]


class ProbeEstimator(Estimator):
    """Measures what the probe reads.

    Where no object is seen, the value is 0 if the caption says that one is in sight all the time: it
    *vanished*. Where the caption lets it hide (a pillar, a camera that leaves), or there is no caption that
    can be read, there is nothing to measure and the value is NaN.

    Attributes:
        figures: what of `held_out` says how good the probe is at this.
    """

    family: ClassVar[str] = "probe"
    observer: ClassVar[type[Observer]] = ProbeSight
    figures: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.caption: WorldCaption | None = read_caption(self.about.prompt)

    @property
    def unseen(self) -> float:
        """The value where no object is seen."""
        return 0.0 if self.caption is not None and self.caption.hides is None else float("nan")

    @classmethod
    def accuracy(cls) -> str:
        """How good the shipped probe is at this, on renders and videos it was not trained on."""
        return accuracy_of(cls.score, cls.figures)

    def undefined(self) -> str:
        """Why no frame could be measured."""
        if self.caption is None:
            return "no object is seen, and no caption of the synthetic world says that there is one"
        return f"the object is not seen, and may be out of sight: {self.caption.hides}"

    def needs_caption(self) -> str:
        """What is wrong with a caption that could not be read."""
        return f"needs a caption of one object such as {EXAMPLE!r}, got {self.about.prompt!r}"
