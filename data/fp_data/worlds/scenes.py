"""What a video of a world shows, drawn from its seed: sprites, background, the sweep of curtain or camera."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from fp_data.counts import check_counts
from fp_data.worlds.digits import DIGITS

VARIANTS = ("plain", "occlusion", "camera", "revisit", "curtain", "walk", "mnist")
WORLDS: dict[str, Callable[["WorldConfig", Sequence[int]], Any]] = {}
"""Worlds of plugins: variant -> function from settings and seeds to a `World`, see `register_world`."""

SHAPES = ("ball", "square", "diamond", "triangle")
TEXTURES = ("plain", "striped", "checkered")
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.88, 0.16, 0.14),
    "orange": (0.96, 0.55, 0.10),
    "yellow": (0.96, 0.88, 0.22),
    "green": (0.20, 0.76, 0.26),
    "cyan": (0.20, 0.82, 0.88),
    "blue": (0.20, 0.34, 0.92),
    "purple": (0.62, 0.26, 0.84),
    "white": (0.94, 0.94, 0.94),
}
BACKGROUND_TEXTURES = ("smooth", "wavy")
BACKGROUND_COLOURS: dict[str, tuple[float, float, float]] = {
    "grey": (0.42, 0.42, 0.44),
    "navy": (0.12, 0.16, 0.36),
    "olive": (0.36, 0.38, 0.18),
    "brown": (0.40, 0.26, 0.18),
    "teal": (0.10, 0.36, 0.38),
    "plum": (0.36, 0.18, 0.34),
}
SPEEDS: dict[str, float] = {"slowly": 0.5, "fast": 1.0}  # pixels per frame at size 64, as those below
CURTAIN_SPEEDS: dict[str, float] = {"slowly": 3.0, "fast": 5.0}
WALK_SPEEDS: dict[str, float] = {"slowly": 2.0, "fast": 4.0}
DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
CURTAIN_SIDES = ("left", "right", "top", "bottom")
WALK_WIDTH = 2.5
"""Width of the scene of a walk, in views."""
VOCABULARY = (
    *("a", "starting", "over", "and", "background", "behind", "pillar", "camera", "leaves", "returns"),
    *(*SHAPES, *TEXTURES, *COLOURS, *BACKGROUND_TEXTURES, *BACKGROUND_COLOURS, *SPEEDS, *DIRECTIONS),
    *("the", "curtain", "closes", "from", "top", "bottom", "opens", "walks", "digits", "black"),
)
"""Every word that a caption of a world can contain."""

USUAL_SPRITES: dict[str, int] = {"curtain": 2, "walk": 4, "mnist": 2}
_RADIUS = (12.0, 15.0)  # pixels at size 64
_LAYOUTS = 64  # drawn, to find one whose sprites do not overlap


@dataclass(frozen=True)
class WorldConfig:
    """What kind of videos to render.

    Attributes:
        size: height and width in pixels; lengths and speeds scale with it.
        frames: frames per video.
        variant: what hides things, see `fp_data.worlds`; or a world that a plugin registers.
        sprites: sprites or digits per video, drawn in order (later ones in front); by default 2 behind a
            curtain, 4 along a walk, 2 digits, else 1.
        motion_told: share of the videos of moving sprites whose captions tell speed and direction.
    """

    size: int = 64
    frames: int = 64
    variant: str = "plain"
    sprites: int | None = None
    motion_told: float = 1.0

    def __post_init__(self) -> None:
        """Refuse unknown variants, and sizes that cannot hold a sprite."""
        known = (*VARIANTS, *WORLDS)
        if self.variant not in known:
            close = get_close_matches(self.variant, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"variant: got {self.variant!r}, expected one of {', '.join(known)}{hint}")
        if self.size < 16 or self.size % 8:
            raise ValueError(f"world size must be a multiple of 8 and at least 16, got {self.size}")
        check_counts(size=self.size, frames=self.frames, sprites=self.sprites)
        if not 0 <= self.motion_told <= 1:
            raise ValueError(f"motion_told: got {self.motion_told}, expected a share in [0, 1]")

    @property
    def count(self) -> int:
        """Sprites or digits per video."""
        return USUAL_SPRITES.get(self.variant, 1) if self.sprites is None else self.sprites

    @property
    def moving_view(self) -> bool:
        """Whether the camera moves."""
        return self.variant in ("camera", "revisit", "walk")

    @property
    def still(self) -> bool:
        """Whether nothing in the scene moves: only the view, or what covers it."""
        return self.variant in ("curtain", "walk")

    @property
    def scene_width(self) -> int:
        """Pixels across the scene that a still world's view is taken from."""
        return round(WALK_WIDTH * self.size) if self.variant == "walk" else self.size


@dataclass(frozen=True)
class SpriteAttributes:
    """What the caption says of one sprite, and what it leaves out (radius, pixels)."""

    shape: str
    colour: str
    texture: str
    speed: str
    direction: str
    radius: float
    rgb: tuple[float, float, float]
    second_rgb: tuple[float, float, float]
    start: tuple[float, float]


@dataclass(frozen=True)
class DigitAttributes:
    """A handwritten digit: its image, its first place in pixels, its velocity in pixels per frame."""

    index: int
    start: tuple[float, float]
    velocity: tuple[float, float]


@dataclass(frozen=True)
class Sweep:
    """How curtain or camera moves.

    Attributes:
        side: the curtain's edge, or the camera's first direction.
        speed: ``slowly`` or ``fast``.
        start: where the camera starts, pixels from the left wall.
    """

    side: str
    speed: str
    start: float = 0.0


@dataclass(frozen=True)
class SceneAttributes:
    """One video's full description."""

    seed: int
    sprites: tuple[SpriteAttributes, ...]
    background_colour: str
    background_texture: str
    gradient_angle: float
    wave_angle: float
    wave_phase: float
    pillar: float
    caption: str
    sweep: Sweep | None = None
    digits: tuple[DigitAttributes, ...] = ()


def describe(config: WorldConfig, seed: int) -> SceneAttributes:
    """Draw one video's attributes from its seed (independent of every other video)."""
    random = np.random.Generator(np.random.Philox(key=[seed % 2**64, 0]))
    scale = config.size / 64
    count = 0 if config.variant == "mnist" else config.count
    sprites = tuple(_draw_sprite(random, scale, config.size) for _ in range(count))
    background_colour = str(random.choice(list(BACKGROUND_COLOURS)))
    background_texture = str(random.choice(BACKGROUND_TEXTURES))
    angles = random.uniform(0, 2 * math.pi, size=3)
    pillar = float(random.uniform(0.4, 0.6)) * config.size
    later = np.random.Generator(np.random.Philox(key=[seed % 2**64, 1]))  # what the first worlds did not have
    told = later.random() < config.motion_told
    sweep: Sweep | None = None
    digits: tuple[DigitAttributes, ...] = ()
    if config.still:
        sweep = _draw_sweep(config, later)
        sprites = _laid_out(sprites, config, later)
    elif config.variant == "mnist":
        digits = tuple(_draw_digit(later, scale) for _ in range(config.count))
    return SceneAttributes(
        seed=seed,
        sprites=sprites,
        background_colour=background_colour,
        background_texture=background_texture,
        gradient_angle=float(angles[0]),
        wave_angle=float(angles[1]),
        wave_phase=float(angles[2]),
        pillar=pillar,
        caption=_caption(config, sprites, f"{background_texture} {background_colour}", sweep, told=told),
        sweep=sweep,
        digits=digits,
    )


def _caption(
    config: WorldConfig,
    sprites: tuple[SpriteAttributes, ...],
    background: str,
    sweep: Sweep | None,
    *,
    told: bool,
) -> str:
    if config.variant == "mnist":
        return "digits over a black background"
    if sweep is not None and config.variant == "curtain":
        return f"a curtain closes {sweep.speed} from the {sweep.side} and opens"
    if sweep is not None:
        return f"a camera walks {sweep.speed} starting {sweep.side}"
    sentence = " and ".join(
        f"a {s.colour} {s.texture} {s.shape}" + (f" starting {s.speed} {s.direction}" if told else "")
        for s in sprites
    )
    end = {"plain": "", "occlusion": " behind a pillar"}.get(config.variant, " camera leaves and returns")
    return f"{sentence} over a {background} background{end}"


def _draw_sprite(random: np.random.Generator, scale: float, size: int) -> SpriteAttributes:
    shape, texture = str(random.choice(SHAPES)), str(random.choice(TEXTURES))
    colour, speed = str(random.choice(list(COLOURS))), str(random.choice(list(SPEEDS)))
    direction = str(random.choice(list(DIRECTIONS)))
    radius = float(random.uniform(*_RADIUS)) * scale
    start = random.uniform(radius, size - radius, size=2)
    rgb = COLOURS[colour]
    second = tuple(0.42 * c for c in rgb)
    return SpriteAttributes(
        shape, colour, texture, speed, direction, radius, rgb, (second[0], second[1], second[2]),
        (float(start[0]), float(start[1])),
    )  # fmt: skip


def _draw_sweep(config: WorldConfig, random: np.random.Generator) -> Sweep:
    speed = str(random.choice(list(CURTAIN_SPEEDS)))
    if config.variant == "curtain":
        return Sweep(str(random.choice(CURTAIN_SIDES)), speed)
    side = str(random.choice(("left", "right")))
    return Sweep(side, speed, float(random.integers(config.scene_width - config.size + 1)))


def _laid_out(
    sprites: tuple[SpriteAttributes, ...], config: WorldConfig, random: np.random.Generator
) -> tuple[SpriteAttributes, ...]:
    """The sprites at places where they do not overlap, or overlap least, anywhere in the scene."""
    radius = np.array([sprite.radius for sprite in sprites])
    room = np.array([config.scene_width, config.size]) - 2 * radius[:, None]  # s 2
    places = random.random((_LAYOUTS, len(sprites), 2)) * room + radius[:, None]
    apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1)
    overlap = np.triu(radius[:, None] + radius - apart, 1).clip(min=0).sum((1, 2))
    chosen = places[int(overlap.argmin())]  # the first of those without any
    return tuple(
        replace(sprite, start=(float(x), float(y))) for sprite, (x, y) in zip(sprites, chosen, strict=True)
    )


def _draw_digit(random: np.random.Generator, scale: float) -> DigitAttributes:
    angle, speed = random.uniform(0, 2 * math.pi), random.uniform(0.75, 1.5) * scale
    start = random.uniform(14 * scale, 50 * scale, size=2)
    velocity = (float(speed * math.cos(angle)), float(speed * math.sin(angle)))
    return DigitAttributes(int(random.integers(DIGITS)), (float(start[0]), float(start[1])), velocity)
