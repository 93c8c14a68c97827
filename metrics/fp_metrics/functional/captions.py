"""Captions of the synthetic world, read back into what they say."""

import re
from dataclasses import dataclass

SHAPES = ("ball", "square", "diamond", "triangle")
TEXTURES = ("plain", "striped", "checkered")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")
SPEEDS = {"slowly": 0.5, "fast": 1.0}
"""Pixels per frame of a picture of 64 x 64."""
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
EXAMPLE = "a red plain ball starting fast left over a smooth grey background"

_CAPTION = re.compile(
    rf"an? ({'|'.join(COLOURS)}) ({'|'.join(TEXTURES)}) ({'|'.join(SHAPES)})"
    rf" starting ({'|'.join(SPEEDS)}) ({'|'.join(DIRECTIONS)}) over a \w+ \w+ background"
    r"( behind a pillar| camera leaves and returns)?[.]?"
)


@dataclass(frozen=True)
class WorldCaption:
    """What the caption of a synthetic video with one object says.

    Attributes:
        colour: one of `COLOURS`.
        texture: one of `TEXTURES`.
        shape: one of `SHAPES`.
        speed: pixels per frame of a picture of 64 x 64.
        direction: unit vector (x, y), y downwards, in which the object starts; it turns round at the border.
        hides: why the object may be out of sight for a while; None: it never is.
    """

    colour: str
    texture: str
    shape: str
    speed: float
    direction: tuple[float, float]
    hides: str | None = None

    @property
    def camera_moves(self) -> bool:
        """Whether places in the picture are not places in the scene."""
        return self.hides == "camera leaves and returns"


def read_caption(text: str) -> WorldCaption | None:
    """What a caption says; None where it is no caption of one object of the synthetic world.

    Upper case and spaces do not count, the background is not read.
    """
    match = _CAPTION.fullmatch(" ".join(text.lower().split()))
    if match is None:
        return None
    colour, texture, shape, speed, direction, hides = match.groups()
    return WorldCaption(
        colour, texture, shape, SPEEDS[speed], DIRECTIONS[direction], hides.strip() if hides else None
    )
