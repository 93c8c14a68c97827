"""What is drawn, back to front: background, sprites or digits, pillar or curtain, each with its coverage."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_data.worlds.digits import digit_images
from fp_data.worlds.motion import curtain_reach
from fp_data.worlds.scenes import (
    BACKGROUND_COLOURS,
    DigitAttributes,
    SceneAttributes,
    SpriteAttributes,
    WorldConfig,
)

_TEXTURE_PERIOD = 13.0  # pixels at size 64, as that of the curtain
_FOLD_PERIOD = 8.0


def sprite_template(config: WorldConfig, sprite: SpriteAttributes) -> tuple[Tensor, Tensor]:
    """The sprite alone, at the centre of the view.

    Returns:
        Its mask, bool ``h w``, and its colours, float32 ``c h w`` in [0, 1].
    """
    centre = torch.full((1, 1, 2), (config.size - 1) / 2)
    alpha, colour = sprite_layer(config, [sprite], centre)
    return alpha[0, 0] > 0.5, colour[0, 0]


def _grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    y, x = torch.meshgrid(torch.arange(height) + 0.0, torch.arange(width) + 0.0, indexing="ij")
    return x, y


def _per_video(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None]


def backgrounds(config: WorldConfig, scenes: Sequence[SceneAttributes], camera: Tensor, width: int) -> Tensor:
    """Backgrounds ``b t c h w`` in [0, 1] that a view of some width has at offsets ``t``, pixels."""
    x, y = _grid(config.size, width)
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


def sprite_layer(
    config: WorldConfig, sprites: Sequence[SpriteAttributes], centre: Tensor, width: int | None = None
) -> tuple[Tensor, Tensor]:
    """Coverage ``b t h w`` and colour ``b t c h w`` of one sprite per video at centres ``b t 2``.

    Args:
        config: the kind of world.
        sprites: one per video.
        centre: x and y, pixels.
        width: of what is drawn; by default that of the view.
    """
    x, y = _grid(config.size, width or config.size)
    radius = _per_video([s.radius for s in sprites])
    dx, dy = x - centre[..., 0, None, None], y - centre[..., 1, None, None]
    distance = _shape_distance(sprites, dx / radius, dy / radius) * radius
    alpha = (0.5 - distance / 1.5).clamp_(0, 1)  # an edge 1.5 pixels wide
    weight = _texture_weight(sprites, dx, dy, config.size / 64)[:, :, None]
    first = torch.tensor([s.rgb for s in sprites])[:, None, :, None, None]
    second = torch.tensor([s.second_rgb for s in sprites])[:, None, :, None, None]
    return alpha, first + (second - first) * weight


def digit_layer(
    config: WorldConfig, digits: Sequence[DigitAttributes], centre: Tensor
) -> tuple[Tensor, Tensor]:
    """Coverage ``b t h w`` and colour, white, of one digit per video at centres ``b t 2``."""
    images = digit_images([digit.index for digit in digits])[:, None, None]  # b 1 1 28 28
    x, y = _grid(config.size, config.size)
    half = 14 * config.size / 64
    at = (torch.stack((x, y), -1) - centre[..., None, None, :]) / half  # b t h w 2, in [-1, 1] on the digit
    frames = centre.shape[1]
    alpha = F.grid_sample(
        images.expand(-1, frames, -1, -1, -1).flatten(0, 1), at.flatten(0, 1), align_corners=False
    )
    return alpha[:, 0].unflatten(0, (-1, frames)), torch.ones(1, 1, 3, 1, 1)


def pillar_layer(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor]:
    """Coverage ``b 1 h w`` and colour ``b 1 c h w`` of a textured pillar."""
    x, y = _grid(config.size, config.size)
    centre = torch.tensor([s.pillar for s in scenes])[:, None, None]
    half = config.size * 5 / 64
    alpha = (0.5 - ((x - centre).abs() - half) / 1.5).clamp(0, 1)
    shade = 0.55 + 0.15 * torch.sin(2 * math.pi * y / (config.size / 4))
    colour = torch.stack((shade, 0.9 * shade, 0.75 * shade)).expand(len(scenes), -1, -1, -1)
    return alpha[:, None], colour[:, None]


def curtain_layer(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor]:
    """Coverage ``b t h w`` and colour ``b t c h w`` of a red curtain whose folds move with its edge."""
    x, y = _grid(config.size, config.size)
    last = config.size - 1
    inwards = {"left": x, "right": last - x, "top": y, "bottom": last - y}  # pixels from the curtain's side
    sides = [scene.sweep.side for scene in scenes if scene.sweep is not None]
    depth = torch.stack([inwards[side] for side in sides])[:, None]  # b 1 h w
    reach = curtain_reach(config, scenes)[..., None, None]
    alpha = (reach - depth).clamp(0, 1)
    fold = 0.5 + 0.5 * torch.sin(2 * math.pi * (depth - reach) / (_FOLD_PERIOD * config.size / 64))
    dark, light = (torch.tensor(rgb)[:, None, None] for rgb in ((0.36, 0.04, 0.08), (0.66, 0.12, 0.16)))
    return alpha, dark.lerp(light, fold[:, :, None])
