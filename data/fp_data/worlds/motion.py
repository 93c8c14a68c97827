"""Where sprites, digits, curtain and camera are in every frame: triangle waves at exact speeds."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fp_data.worlds.scenes import (
    CURTAIN_SPEEDS,
    DIRECTIONS,
    SPEEDS,
    WALK_SPEEDS,
    SceneAttributes,
    WorldConfig,
)

_BEYOND = 68 / 64  # the curtain goes so many views far, and is closed for a frame or two


def bounce(start: Tensor, velocity: Tensor, span: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and velocities of what turns round at 0 and at `span`; the tensors broadcast.

    Args:
        start: at time 0, in [0, span].
        velocity: at time 0, per frame.
        span: of the way.
        time: frames.
    """
    wave = torch.remainder(start + velocity * time, 2 * span)
    returning = wave > span
    return torch.where(returning, 2 * span - wave, wave), torch.where(returning, -velocity, velocity)


def sprite_paths(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor]:
    """Centres and velocities ``b t s 2`` in the scene, pixels and pixels per frame."""
    start = torch.tensor([[s.start for s in scene.sprites] for scene in scenes])[:, None]  # b 1 s 2
    if config.still:
        place = start.expand(-1, config.frames, -1, -1)
        return place, torch.zeros_like(place)
    scale = config.size / 64
    radius = torch.tensor([[s.radius for s in scene.sprites] for scene in scenes])[:, None, :, None]
    velocity = torch.tensor(
        [
            [[scale * SPEEDS[s.speed] * d for d in DIRECTIONS[s.direction]] for s in scene.sprites]
            for scene in scenes
        ]
    )[:, None]
    span = config.size - 2 * radius  # the sprite turns round where it touches the border
    position, velocity = bounce(start - radius, velocity, span, _time(config)[:, None, None])
    return position + radius, velocity


def digit_paths(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor]:
    """The same of digits, whose images of 28 pixels stay in view."""
    half = 14 * config.size / 64
    start = torch.tensor([[d.start for d in scene.digits] for scene in scenes])[:, None]
    velocity = torch.tensor([[d.velocity for d in scene.digits] for scene in scenes])[:, None]
    span = torch.tensor(config.size - 2 * half)
    position, velocity = bounce(start - half, velocity, span, _time(config)[:, None, None])
    return position + half, velocity


def camera_path(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> Tensor:
    """Horizontal offset of the view ``b t``, pixels; whole ones along a walk."""
    if config.variant == "walk":
        sweeps = [scene.sweep for scene in scenes if scene.sweep is not None]
        start = torch.tensor([sweep.start for sweep in sweeps])[:, None]
        way = {"left": -config.size / 64, "right": config.size / 64}
        velocity = torch.tensor([WALK_SPEEDS[sweep.speed] * way[sweep.side] for sweep in sweeps])[:, None]
        span = torch.tensor(float(config.scene_width - config.size))
        return bounce(start, velocity, span, _time(config))[0].round()
    offset = torch.zeros(config.frames)
    if config.moving_view:  # 0 at both ends and 1.25 views away in the middle
        phase = torch.arange(config.frames) / max(config.frames - 1, 1)
        away = torch.sin(math.pi * phase) ** 2
        if config.variant == "revisit":
            away = ((phase >= 1 / 3) & (phase < 2 / 3)).float()
        offset = 1.25 * config.size * away
    return offset.expand(len(scenes), -1)


def curtain_reach(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> Tensor:
    """How far the curtain has come from its side ``b t``, pixels: 0 at first."""
    speeds = [CURTAIN_SPEEDS[scene.sweep.speed] for scene in scenes if scene.sweep is not None]
    velocity = torch.tensor(speeds)[:, None] * config.size / 64
    return bounce(torch.zeros(()), velocity, torch.tensor(_BEYOND * config.size), _time(config))[0]


def _time(config: WorldConfig) -> Tensor:
    return torch.arange(config.frames, dtype=torch.float32)
