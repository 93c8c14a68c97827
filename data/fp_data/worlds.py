"""A synthetic world of textured sprites on textured backgrounds, fully determined by a seed.

Every video is a function of ``(WorldConfig, seed)`` alone, so ground truth (positions, velocities,
masks, attributes) is exact and any video can be rendered again. Motion is a triangle wave along one
axis at an exact speed: given the first frame and the caption, the position in any later frame is
determined, which is what makes a far endpoint predictable. Captions say which way a sprite *starts*: it turns
round at the border, so no word for a direction is true of the whole video.

Variants: ``plain``; ``occlusion`` puts a textured pillar in front of the sprites; ``camera`` pans a
viewport away from the sprites and back, and ``revisit`` cuts to another place for the middle third of the
video and back, so that the same place is seen again.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

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
SPEEDS: dict[str, float] = {"slowly": 0.5, "fast": 1.0}  # pixels per frame at size 64
DIRECTIONS: dict[str, tuple[int, int]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
VOCABULARY = (
    *("a", "starting", "over", "and", "background", "behind", "pillar", "camera", "leaves", "returns"),
    *(*SHAPES, *TEXTURES, *COLOURS, *BACKGROUND_TEXTURES, *BACKGROUND_COLOURS, *SPEEDS, *DIRECTIONS),
)
"""Every word that a caption of this world can contain."""

_RADIUS = (12.0, 15.0)  # pixels at size 64
_TEXTURE_PERIOD = 13.0
_RENDER_CHUNK = 8  # videos rendered at once: bounds memory


@dataclass(frozen=True)
class WorldConfig:
    """What kind of videos to render.

    Attributes:
        size: height and width in pixels; lengths and speeds scale with it.
        frames: frames per video.
        variant: ``plain``, ``occlusion``, ``camera`` or ``revisit``.
        sprites: sprites per video, drawn in order (later ones in front).
    """

    size: int = 64
    frames: int = 64
    variant: Literal["plain", "occlusion", "camera", "revisit"] = "plain"
    sprites: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes that cannot hold a sprite."""
        if self.size < 16 or self.size % 8:
            raise ValueError(f"world size must be a multiple of 8 and at least 16, got {self.size}")
        if self.frames < 1 or self.sprites < 1:
            raise ValueError(f"need at least 1 frame and 1 sprite, got {self.frames} and {self.sprites}")

    @property
    def moving_view(self) -> bool:
        """Whether the camera leaves and returns."""
        return self.variant in ("camera", "revisit")


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


@dataclass(frozen=True)
class World:
    """A batch of rendered videos with exact ground truth.

    Attributes:
        frames: uint8 ``b t h w c``, RGB.
        captions: one per video.
        positions: float32 ``b t s 2``, sprite centres (x, y) in pixels of the view.
        velocities: float32 ``b t s 2``, pixels per frame in the scene (camera motion not included).
        masks: bool ``b t s h w``, the visible part of each sprite.
        backgrounds: the scene without sprites, uint8 ``b t h w c`` for a moving camera, else ``b 1 h w c``.
        scenes: the attributes each video was rendered from.
    """

    frames: Tensor
    captions: tuple[str, ...]
    positions: Tensor
    velocities: Tensor
    masks: Tensor
    backgrounds: Tensor
    scenes: tuple[SceneAttributes, ...]


def describe(config: WorldConfig, seed: int) -> SceneAttributes:
    """Draw one video's attributes from its seed (independent of every other video)."""
    random = np.random.Generator(np.random.Philox(key=[seed % 2**64, 0]))
    scale = config.size / 64
    sprites = tuple(_draw_sprite(random, scale, config.size) for _ in range(config.sprites))
    background_colour = str(random.choice(list(BACKGROUND_COLOURS)))
    background_texture = str(random.choice(BACKGROUND_TEXTURES))
    angles = random.uniform(0, 2 * math.pi, size=3)
    pillar = float(random.uniform(0.4, 0.6)) * config.size
    sentence = " and ".join(
        f"a {s.colour} {s.texture} {s.shape} starting {s.speed} {s.direction}" for s in sprites
    )
    caption = f"{sentence} over a {background_texture} {background_colour} background"
    caption += {"plain": "", "occlusion": " behind a pillar"}.get(
        config.variant, " camera leaves and returns"
    )
    return SceneAttributes(
        seed=seed,
        sprites=sprites,
        background_colour=background_colour,
        background_texture=background_texture,
        gradient_angle=float(angles[0]),
        wave_angle=float(angles[1]),
        wave_phase=float(angles[2]),
        pillar=pillar,
        caption=caption,
    )


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


def iterate(config: WorldConfig, seeds: Sequence[int], chunk: int = _RENDER_CHUNK) -> Iterator[World]:
    """Render videos in chunks, so that memory does not grow with their number."""
    for begin in range(0, len(seeds), chunk):
        yield render(config, seeds[begin : begin + chunk])


def render(config: WorldConfig, seeds: Sequence[int]) -> World:
    """Render one video per seed.

    Args:
        config: the kind of world.
        seeds: one integer per video; the same seed always gives the same video.

    Returns:
        The videos and their ground truth; see `World` for shapes.
    """
    scenes = tuple(describe(config, int(seed)) for seed in seeds)
    camera = _camera_offsets(config)  # t
    positions, velocities = _trajectories(config, scenes)
    positions = positions - torch.stack((camera, torch.zeros_like(camera)), -1)[None, :, None]
    moving_view = config.moving_view
    background = _backgrounds(config, scenes, camera if moving_view else camera[:1])  # b t|1 c h w
    image = background.expand(-1, config.frames, -1, -1, -1)
    alphas: list[Tensor] = []
    for index in range(config.sprites):
        sprites = [scene.sprites[index] for scene in scenes]
        alpha, colour = _sprite_layer(config, sprites, positions[:, :, index])
        image = image.lerp(colour, alpha[:, :, None])
        alphas = [a * (1 - alpha) for a in alphas] + [alpha]
    if config.variant == "occlusion":
        pillar, pillar_colour = _pillar_layer(config, scenes)
        image = image.lerp(pillar_colour[:, None], pillar[:, None, None])
        background = background.lerp(pillar_colour[:, None], pillar[:, None, None])
        alphas = [a * (1 - pillar[:, None]) for a in alphas]
    return World(
        frames=_to_uint8(image),
        captions=tuple(scene.caption for scene in scenes),
        positions=positions,
        velocities=velocities,
        masks=torch.stack(alphas, 2) > 0.5,
        backgrounds=_to_uint8(background),
        scenes=scenes,
    )


def sprite_template(config: WorldConfig, sprite: SpriteAttributes) -> tuple[Tensor, Tensor]:
    """The sprite alone, at the centre of the view.

    Returns:
        Its mask, bool ``h w``, and its colours, float32 ``c h w`` in [0, 1].
    """
    centre = torch.full((1, 1, 2), (config.size - 1) / 2)
    alpha, colour = _sprite_layer(config, [sprite], centre)
    return alpha[0, 0] > 0.5, colour[0, 0]


def _to_uint8(image: Tensor) -> Tensor:
    return image.mul(255).round_().clamp_(0, 255).to(torch.uint8).movedim(-3, -1).contiguous()


def _camera_offsets(config: WorldConfig) -> Tensor:
    """Horizontal view offset per frame, pixels: 0 at both ends and 1.25 views away in the middle."""
    if not config.moving_view:
        return torch.zeros(config.frames)
    phase = torch.arange(config.frames) / max(config.frames - 1, 1)
    away = torch.sin(math.pi * phase) ** 2
    if config.variant == "revisit":
        away = ((phase >= 1 / 3) & (phase < 2 / 3)).float()
    return 1.25 * config.size * away


def _trajectories(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor]:
    scale = config.size / 64
    start = torch.tensor([[s.start for s in scene.sprites] for scene in scenes])  # b s 2
    radius = torch.tensor([[s.radius for s in scene.sprites] for scene in scenes])[..., None]
    velocity = torch.tensor(
        [
            [[scale * SPEEDS[s.speed] * d for d in DIRECTIONS[s.direction]] for s in scene.sprites]
            for scene in scenes
        ]
    )
    time = torch.arange(config.frames, dtype=torch.float32)[None, :, None, None]
    span = config.size - 2 * radius  # the sprite turns round where it touches the border
    unfolded = (start - radius)[:, None] + velocity[:, None] * time
    wave = torch.remainder(unfolded, 2 * span[:, None])
    returning = wave > span[:, None]
    position = torch.where(returning, 2 * span[:, None] - wave, wave) + radius[:, None]
    return position, torch.where(returning, -velocity[:, None], velocity[:, None])


def _grid(size: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(size) + 0.0, torch.arange(size) + 0.0, indexing="ij")
    return x, y


def _per_video(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


def _backgrounds(config: WorldConfig, scenes: Sequence[SceneAttributes], camera: Tensor) -> Tensor:
    x, y = _grid(config.size)
    x = x + camera[:, None, None]  # t h w
    colour = torch.tensor([BACKGROUND_COLOURS[s.background_colour] for s in scenes])[:, None, :, None, None]
    gradient_angle = _per_video([s.gradient_angle for s in scenes])
    wave_angle, wave_phase = (
        _per_video([s.wave_angle for s in scenes]),
        _per_video([s.wave_phase for s in scenes]),
    )
    wavy = _per_video([float(s.background_texture == "wavy") for s in scenes])
    centred = (x / config.size - 0.5) * gradient_angle.cos() + (y / config.size - 0.5) * gradient_angle.sin()
    period = 28 / 64 * config.size
    along = x * wave_angle.cos() + y * wave_angle.sin()
    # the gradient is a slow sine, so that it stays in range however far the camera goes
    brightness = (
        1 + 0.45 * torch.sin(2 * centred) + 0.28 * wavy * torch.sin(2 * math.pi * along / period + wave_phase)
    )
    return (colour * brightness[:, :, None]).clamp(0, 1)


def _shape_distance(sprites: Sequence[SpriteAttributes], dx: Tensor, dy: Tensor) -> Tensor:
    """Signed distance to each sprite's outline (inside < 0), in units of its radius."""
    distances: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "ball": lambda x, y: (x.square() + y.square()).sqrt() - 1,
        "square": lambda x, y: torch.maximum(x.abs(), y.abs()) - 0.86,
        "diamond": lambda x, y: (x.abs() + y.abs() - 1) * math.sqrt(0.5),
        "triangle": lambda x, y: torch.maximum(0.894 * x.abs() - 0.447 * y - 0.447, y - 0.9),
    }
    return torch.stack([distances[s.shape](x, y) for s, x, y in zip(sprites, dx, dy, strict=True)])


def _texture_weight(sprites: Sequence[SpriteAttributes], dx: Tensor, dy: Tensor, scale: float) -> Tensor:
    """Share of the second colour, in [0, 1]; (dx, dy) in pixels from the sprite's centre."""
    frequency = 2 * math.pi / (_TEXTURE_PERIOD * scale)
    striped = _per_video([float(s.texture == "striped") for s in sprites])
    checkered = _per_video([float(s.texture == "checkered") for s in sprites])
    stripes = (3 * torch.sin(frequency * (dx + dy) * math.sqrt(0.5))).clamp(-1, 1)
    checks = (4 * torch.sin(frequency * 0.8 * dx) * torch.sin(frequency * 0.8 * dy)).clamp(-1, 1)
    return 0.5 * (striped * (1 + stripes) + checkered * (1 + checks))


def _sprite_layer(
    config: WorldConfig, sprites: Sequence[SpriteAttributes], centre: Tensor
) -> tuple[Tensor, Tensor]:
    """Coverage ``b t h w`` and colour ``b t c h w`` of one sprite per video at centres ``b t 2``."""
    x, y = _grid(config.size)
    radius = _per_video([s.radius for s in sprites])
    dx, dy = x - centre[..., 0, None, None], y - centre[..., 1, None, None]
    distance = _shape_distance(sprites, dx / radius, dy / radius) * radius
    alpha = (0.5 - distance / 1.5).clamp_(0, 1)  # an edge 1.5 pixels wide
    weight = _texture_weight(sprites, dx, dy, config.size / 64)[:, :, None]
    first = torch.tensor([s.rgb for s in sprites])[:, None, :, None, None]
    second = torch.tensor([s.second_rgb for s in sprites])[:, None, :, None, None]
    return alpha, first + (second - first) * weight


def _pillar_layer(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor]:
    x, y = _grid(config.size)
    centre = torch.tensor([s.pillar for s in scenes])[:, None, None]
    half = config.size * 5 / 64
    alpha = (0.5 - ((x - centre).abs() - half) / 1.5).clamp(0, 1)
    shade = 0.55 + 0.15 * torch.sin(2 * math.pi * y / (config.size / 4))
    return alpha, torch.stack((shade, 0.9 * shade, 0.75 * shade)).expand(len(scenes), -1, -1, -1)
