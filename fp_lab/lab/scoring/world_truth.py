"""Ground truth of the synthetic world, in the form that the metrics take."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fp_data.worlds import (
    COLOURS,
    DIRECTIONS,
    SPEEDS,
    VARIANTS,
    SceneAttributes,
    WorldConfig,
    render,
    sprite_template,
    still_scenes,
)
from fp_metrics import SceneObject, SceneTruth, WorldTruth


def follows_one_object(config: WorldConfig) -> bool:
    """Return whether videos show one moving sprite, as `WorldTruth` and the probe's estimators need."""
    own = config.variant in VARIANTS
    return own and config.count == 1 and not config.still and config.variant != "mnist"


def scene_truths(config: WorldConfig, seeds: Sequence[int]) -> tuple[SceneTruth, ...]:
    """Render videos of still scenes again and return their ground truth.

    Args:
        config: settings of the world; `frames` is the length of the measured videos.
        seeds: one seed per video.

    Raises:
        ValueError: objects move in this world.
    """
    _, backgrounds, masks = still_scenes(config, seeds)
    world = render(config, seeds)
    return tuple(
        SceneTruth(
            frames=world.frames[index],
            covered=world.covered[index].expand(config.frames, -1, -1),
            view=torch.stack((world.camera[index], torch.zeros(config.frames)), -1).long(),
            background=backgrounds[index],
            objects=tuple(
                SceneObject(
                    mask=mask,
                    area=int(sprite_template(config, sprite)[0].sum()),
                    centre=sprite.start,
                    radius=sprite.radius,
                    shape=sprite.shape,
                    colour=sprite.colour,
                    texture=sprite.texture,
                )
                for mask, sprite in zip(masks[index], scene.sprites, strict=True)
            ),
        )
        for index, scene in enumerate(world.scenes)
    )


def world_truths(config: WorldConfig, seeds: Sequence[int]) -> tuple[WorldTruth, ...]:
    """Render videos again and return their ground truth.

    Args:
        config: settings of the world; `frames` is the length of the measured videos.
        seeds: one seed per video.

    Raises:
        ValueError: the world does not have exactly one moving sprite, and the metrics follow one object.
    """
    if not follows_one_object(config):
        raise ValueError(
            f"data.world: got variant={config.variant} with {config.count} sprites or digits, expected one "
            "moving sprite for the estimators of family world; use evaluation.families=[plain]"
        )
    world = render(config, seeds)
    view = _view(config, seeds, world.positions[:, :, 0])
    return tuple(
        _truth(
            config,
            scene,
            frames=world.frames[index],
            backgrounds=world.backgrounds[index],
            masks=world.masks[index, :, 0],
            positions=world.positions[index, :, 0],
            view=None if view is None else view[index],
        )
        for index, scene in enumerate(world.scenes)
    )


def _truth(
    config: WorldConfig,
    scene: SceneAttributes,
    *,
    frames: Tensor,
    backgrounds: Tensor,
    masks: Tensor,
    positions: Tensor,
    view: Tensor | None,
) -> WorldTruth:
    sprite = scene.sprites[0]
    x, y = DIRECTIONS[sprite.direction]
    return WorldTruth(
        frames=frames,
        backgrounds=backgrounds,
        masks=masks,
        positions=positions,
        shape=sprite_template(config, sprite)[0],
        colour=sprite.rgb,
        second_colour=sprite.second_rgb,
        palette=tuple(COLOURS.values()),
        texture=sprite.texture,
        radius=sprite.radius,
        speed=SPEEDS[sprite.speed] * config.size / 64,
        direction=(float(x), float(y)),
        view=view,
    )


def _view(config: WorldConfig, seeds: Sequence[int], positions: Tensor) -> Tensor | None:
    """Shift of the camera, ``b t 2``; None where it stands still.

    A seed has the same path in the scene in every variant, so the camera's shift is the difference.
    """
    if not config.moving_view:
        return None
    in_scene = render(replace(config, variant="plain"), seeds).positions[:, :, 0]
    return (in_scene - positions).to(torch.float32)
