"""Ground truth of one synthetic video, as plain tensors: of one moving object, or of a still scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_metrics.functional.objects import Sighting, sight

Rgb = tuple[float, float, float]

MARGIN = 3
"""Pixels beside an object or a curtain that show something of it."""


@dataclass(frozen=True, eq=False)
class WorldTruth:
    """What is known of a synthetic video with one moving object.

    Attributes:
        frames: uint8 ``(t, h, w, 3)``, the true video; frame 0 is the one a generated video starts from.
        backgrounds: uint8 ``(t, h, w, 3)``, or ``(1, h, w, 3)`` when the view stands still: without the
            object.
        masks: bool ``(t, h, w)``, the visible part of the object.
        positions: float ``(t, 2)``, its centre (x, y) in pixels.
        shape: bool ``(h, w)``, the whole object alone at the centre of the view.
        colour: the object's first colour, RGB in [0, 1].
        second_colour: the colour its texture alternates with.
        palette: all first colours that a caption can name (`colour` is one of them).
        texture: the texture's name.
        radius: pixels.
        speed: pixels per frame that the caption asks for.
        direction: unit vector (x, y) in which the caption says that the object starts; it turns round at the
            border.
        view: float ``(t, 2)``, how far (x, y) a moving camera has gone; None: it stands still. `positions`
            are pixels of the view, ``positions + view`` pixels of the scene.
    """

    frames: Tensor
    backgrounds: Tensor
    masks: Tensor
    positions: Tensor
    shape: Tensor
    colour: Rgb
    second_colour: Rgb
    palette: tuple[Rgb, ...]
    texture: str
    radius: float
    speed: float
    direction: tuple[float, float]
    view: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse tensors that do not fit together."""
        t, h, w = self.frames.shape[:3]
        expected = {"frames": (t, h, w, 3), "masks": (t, h, w), "positions": (t, 2), "shape": (h, w)}
        for field, size in expected.items():
            if tuple(getattr(self, field).shape) != size:
                raise ValueError(f"{field} has shape {tuple(getattr(self, field).shape)}, expected {size}")
        if tuple(self.backgrounds.shape) not in {(t, h, w, 3), (1, h, w, 3)}:
            raise ValueError(
                f"backgrounds has shape {tuple(self.backgrounds.shape)}, expected (1 or {t}, {h}, {w}, 3)"
            )
        if self.frames.dtype != torch.uint8 or self.backgrounds.dtype != torch.uint8:
            raise ValueError(
                f"frames and backgrounds must be uint8, got {self.frames.dtype}, {self.backgrounds.dtype}"
            )
        if self.view is not None and self.view.shape != self.positions.shape:
            raise ValueError(
                f"view has shape {tuple(self.view.shape)}, expected {tuple(self.positions.shape)}"
            )
        if tuple(self.colour) not in {tuple(colour) for colour in self.palette}:
            raise ValueError(f"colour {self.colour} is not in the palette {self.palette}")

    @property
    def length(self) -> int:
        """Frames that are known."""
        return len(self.frames)

    @property
    def area(self) -> int:
        """Pixels of the whole object."""
        return int(self.shape.sum())

    def frame(self, position: int) -> Tensor:
        """The true frame, float32 ``(3, h, w)`` in [0, 1]."""
        return self.frames[position].movedim(-1, 0).float() / 255

    def background(self, position: int) -> Tensor:
        """The true background of a frame, float32 ``(3, h, w)`` in [0, 1]."""
        return self._backgrounds[min(position, len(self._backgrounds) - 1)]

    def visible_area(self, position: int) -> int:
        """Pixels of the object that truly show in a frame."""
        return self._visible_areas[position]

    def whole(self, position: int) -> bool:
        """Whether the object truly shows so much of itself that the centre of what shows moves as it does."""
        return self.visible_area(position) >= 0.9 * self.area

    def heading(self, position: int) -> Tensor:
        """The unit vector (x, y) in which the true object moves in the scene at a frame, double ``(2,)``."""
        before, after = (self.positions + self.offsets)[[position - 1, position + 1]].double()
        return (after - before) / (after - before).norm()

    def turns(self, position: int) -> bool:
        """Whether the true object turns round within a frame of this one."""
        around = (self.positions + self.offsets)[max(0, position - 1) : position + 2].double()
        return bool(len(around) == 3 and (around[2] - 2 * around[1] + around[0]).norm() > 0.1 * self.speed)

    def near_border(self, centre: Sequence[float]) -> bool:
        """Whether an object at this centre (x, y) of the scene comes within 2 frames' way of a border."""
        height, width = self.shape.shape
        reach = self.radius + max(2.0, 2 * self.speed)
        x, y = float(centre[0]), float(centre[1])
        return min(x, y, width - 1 - x, height - 1 - y) < reach

    @cached_property
    def _visible_areas(self) -> list[int]:
        areas: list[int] = self.masks.flatten(1).sum(1).tolist()
        return areas

    @cached_property
    def _backgrounds(self) -> Tensor:
        return self.backgrounds.movedim(-1, 1).float() / 255

    @cached_property
    def shades(self) -> Tensor:
        """The palette's colours, then the same as much darker as the object's second colour: ``(2k, 3)``."""
        first = torch.tensor(self.palette)
        darker = torch.tensor(self.second_colour) / torch.tensor(self.colour).clamp(min=1e-6)
        return torch.cat((first, first * darker))

    @cached_property
    def offsets(self) -> Tensor:
        """How far the camera has gone, float ``(t, 2)``."""
        return torch.zeros_like(self.positions) if self.view is None else self.view

    def sighting(self, position: int) -> Sighting:
        """The object as it is seen in a true frame (a colour like the background's hides a part of it)."""
        if position not in self._sightings:
            self._sightings[position] = sight(self.frame(position), self.background(position))
        return self._sightings[position]

    @cached_property
    def _sightings(self) -> dict[int, Sighting]:
        return {}


@dataclass(frozen=True, eq=False)
class SceneObject:
    """An object of a still scene.

    Attributes:
        mask: bool ``(h, scene width)``, what shows of it in the scene: others may be in front of it.
        area: pixels of the whole object.
        centre: (x, y) in the scene, pixels.
        radius: pixels.
        shape: its name.
        colour: its name.
        texture: its name.
    """

    mask: Tensor
    area: int
    centre: tuple[float, float]
    radius: float
    shape: str
    colour: str
    texture: str


@dataclass(frozen=True, eq=False)
class SceneTruth:
    """What is known of a synthetic video in which nothing moves but the view, or what covers it.

    Attributes:
        frames: uint8 ``(t, h, w, 3)``, the true video.
        covered: bool ``(t, h, w)``, what a curtain hides of the view.
        view: int64 ``(t, 2)``, where the view's corner (x, y) is in the scene, pixels.
        background: uint8 ``(scene height, scene width, 3)``, the scene without objects and curtain.
        objects: of the scene.
    """

    frames: Tensor
    covered: Tensor
    view: Tensor
    background: Tensor
    objects: tuple[SceneObject, ...]

    def __post_init__(self) -> None:
        """Refuse tensors that do not fit together."""
        if self.covered.shape != self.frames.shape[:3] or self.view.shape != (len(self.frames), 2):
            raise ValueError(
                f"got covered of shape {tuple(self.covered.shape)} and view of {tuple(self.view.shape)} for "
                f"frames of {tuple(self.frames.shape)}, expected (t, h, w) and (t, 2)"
            )
        if self.view.dtype != torch.int64 or int(self.view.min()) < 0:
            raise ValueError("view must be whole pixels from the scene's corner, int64")

    @property
    def length(self) -> int:
        """Frames that are known."""
        return len(self.frames)

    def frame(self, position: int) -> Tensor:
        """The true frame, float32 ``(3, h, w)`` in [0, 1]."""
        return self.frames[position].movedim(-1, 0).float() / 255

    def seen(self, picture: Tensor, position: int) -> Tensor:
        """What the view of a frame has of a picture ``(..., scene height, scene width)``: ``(..., h, w)``."""
        (x, y), (height, width) = self.view[position].tolist(), self.frames.shape[1:3]
        return picture[..., y : y + height, x : x + width]

    @cached_property
    def clear(self) -> Tensor:
        """Bool ``(t, h, w)``: where no curtain is, nor its edge, which is soft."""
        return ~grown(self.covered, MARGIN)

    @cached_property
    def empty(self) -> Tensor:
        """The background, float32 ``(3, scene height, scene width)`` in [0, 1]."""
        return self.background.movedim(-1, 0).float() / 255


def grown(masks: Tensor, margin: int) -> Tensor:
    """Masks ``(n, h, w)`` and a margin, pixels, around what they cover."""
    return F.max_pool2d(masks.float()[:, None], 2 * margin + 1, stride=1, padding=margin)[:, 0] > 0
