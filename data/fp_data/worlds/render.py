"""Videos of a world and their ground truth."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fp_data.worlds.layers import backgrounds, curtain_layer, digit_layer, pillar_layer, sprite_layer
from fp_data.worlds.motion import camera_path, digit_paths, sprite_paths
from fp_data.worlds.scenes import VARIANTS, WORLDS, SceneAttributes, WorldConfig, describe

_AT_ONCE = 8  # videos rendered at once: bounds memory
_COVERS = {"occlusion": pillar_layer, "curtain": curtain_layer}


@dataclass(frozen=True)
class World:
    """A batch of rendered videos with exact ground truth.

    Attributes:
        frames: uint8 ``b t h w c``, RGB.
        captions: one per video.
        positions: float32 ``b t s 2``, centres of sprites or digits (x, y) in pixels of the view.
        velocities: float32 ``b t s 2``, pixels per frame in the scene (camera motion not included).
        masks: bool ``b t s h w``, the visible part of each sprite or digit.
        backgrounds: the scene without sprites, uint8 ``b t h w c`` where view or cover moves, else
            ``b 1 h w c``.
        covered: bool ``b t h w``, or ``b 1 h w`` where it never changes: what pillar or curtain hides.
        camera: float32 ``b t``, how far to the right the view is in the scene, pixels.
        scenes: the attributes each video was rendered from.
    """

    frames: Tensor
    captions: tuple[str, ...]
    positions: Tensor
    velocities: Tensor
    masks: Tensor
    backgrounds: Tensor
    covered: Tensor
    camera: Tensor
    scenes: tuple[SceneAttributes, ...]

    @classmethod
    def of(cls, frames: Tensor, captions: Sequence[str]) -> "World":
        """Videos whose truth is their frames alone: no sprite is followed, nothing is hidden.

        Args:
            frames: uint8 ``b t h w c``, RGB.
            captions: one per video.
        """
        b, t, h, w, _ = frames.shape
        nothing = torch.zeros(b, t, 0, 2)
        return cls(
            frames=frames,
            captions=tuple(captions),
            positions=nothing,
            velocities=nothing,
            masks=torch.zeros(b, t, 0, h, w, dtype=torch.bool),
            backgrounds=frames,
            covered=torch.zeros(b, 1, h, w, dtype=torch.bool),
            camera=torch.zeros(b, t),
            scenes=(),
        )


Render = Callable[[WorldConfig, Sequence[int]], World]


def register_world(variant: str) -> Callable[[Render], Render]:
    """Add a world under the name of a variant, as a decorator of a function like `render`.

    Every video must depend on the settings and its own seed alone: it is rendered again where it is measured.

    Raises:
        ValueError: no name of lower-case letters, digits and underscores, or one that is taken.
    """
    if not isinstance(variant, str):
        raise ValueError(f'world: got {variant!r} for a name, expected a text: register_world("my_world")')
    if not re.fullmatch("[a-z][a-z0-9_]*", variant) or variant in VARIANTS:
        raise ValueError(
            f"world: got the name {variant!r}, expected lower-case letters, digits and underscores that "
            f"begin with a letter, and none of {', '.join(VARIANTS)}"
        )

    def add(render: Render) -> Render:
        known = WORLDS.get(variant)
        if known is not None and known.__module__ != render.__module__:
            raise ValueError(
                f"world {variant!r} of {render.__module__}: {known.__module__} has registered that name"
            )
        WORLDS[variant] = render
        return render

    return add


def iterate(config: WorldConfig, seeds: Sequence[int], chunk: int = _AT_ONCE) -> Iterator[World]:
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

    Raises:
        ValueError: a world of a plugin renders something else than it was asked for.
    """
    if config.variant in WORLDS:
        try:
            world = WORLDS[config.variant](config, seeds)
        except Exception as error:
            error.add_note(f"in world {config.variant!r} of {WORLDS[config.variant].__module__}")
            raise
        if not isinstance(world, World):
            raise ValueError(f"world {config.variant!r}: got {world!r}, expected a World, as of World.of")
        _require_asked(world, config, len(seeds))
        return world
    scenes = tuple(describe(config, int(seed)) for seed in seeds)
    camera = camera_path(config, scenes)  # b t
    paths = digit_paths if config.variant == "mnist" else sprite_paths
    places, velocities = paths(config, scenes)
    positions = places - torch.stack((camera, torch.zeros_like(camera)), -1)[:, :, None]
    if config.still:  # drawn once, then seen through the moving view
        image, background, alphas = (
            _through_view(drawn, camera, config.size) for drawn in _still(config, scenes)
        )
    else:
        view = camera[0] if config.moving_view else camera[0, :1]
        image, background, alphas = _scene(config, scenes, positions, view, config.size)
    cover = torch.zeros(1, 1, config.size, config.size).expand(len(scenes), -1, -1, -1)
    if config.variant in _COVERS:
        cover, colour = _COVERS[config.variant](config, scenes)
        image = image.lerp(colour, cover[:, :, None])
        background = background.lerp(colour, cover[:, :, None])
        alphas = alphas * (1 - cover[:, :, None])
    return World(
        frames=_to_uint8(image),
        captions=tuple(scene.caption for scene in scenes),
        positions=positions,
        velocities=velocities,
        masks=alphas > 0.5,
        backgrounds=_to_uint8(background),
        covered=cover > 0.5,
        camera=camera,
        scenes=scenes,
    )


def covered(config: WorldConfig, seeds: Sequence[int]) -> Tensor:
    """`World.covered` of videos that are not rendered: what pillar or curtain hides."""
    if config.variant not in _COVERS:
        return torch.zeros(1, 1, config.size, config.size, dtype=torch.bool).expand(len(seeds), -1, -1, -1)
    chunks = (seeds[begin : begin + _AT_ONCE] for begin in range(0, len(seeds), _AT_ONCE))
    layer = _COVERS[config.variant]
    return torch.cat(
        [layer(config, tuple(describe(config, int(s)) for s in chunk))[0] > 0.5 for chunk in chunks]
    )


def _require_asked(world: World, config: WorldConfig, count: int) -> None:
    wanted = (count, config.frames, config.size, config.size, 3)
    got, kind = tuple(world.frames.shape), world.frames.dtype
    if got != wanted or kind != torch.uint8 or len(world.captions) != count:
        raise ValueError(
            f"world {config.variant!r}: got frames {got} of {kind} and {len(world.captions)} captions, "
            f"expected {wanted} of torch.uint8 (b t h w c) and one caption per video"
        )


def still_scenes(config: WorldConfig, seeds: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """The whole scenes of still worlds, as wide as the camera goes, with nothing in front of them.

    Returns:
        Pictures, uint8 ``b h w c``; the same without sprites; what shows of each sprite, bool ``b s h w``.

    Raises:
        ValueError: in this world things move.
    """
    if not config.still:
        raise ValueError(f"got world variant {config.variant}, expected one whose scenes are still")
    scenes = tuple(describe(config, int(seed)) for seed in seeds)
    image, background, alphas = _still(config, scenes)
    return _to_uint8(image[:, 0]), _to_uint8(background[:, 0]), alphas[:, 0] > 0.5


def _still(config: WorldConfig, scenes: Sequence[SceneAttributes]) -> tuple[Tensor, Tensor, Tensor]:
    places = sprite_paths(config, scenes)[0][:, :1]
    return _scene(config, scenes, places, torch.zeros(1), config.scene_width)


def _scene(
    config: WorldConfig, scenes: Sequence[SceneAttributes], places: Tensor, view: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """All but what covers it: image and background ``b t c h w``, and how sprites cover it ``b t s h w``.

    Args:
        config: the kind of world.
        scenes: the videos.
        places: of sprites or digits in the picture, ``b t s 2``.
        view: offsets from which the background is seen, ``t`` or ``1``.
        width: of the picture.
    """
    digits = config.variant == "mnist"
    background = (
        torch.zeros(len(scenes), 1, 3, config.size, width)
        if digits
        else backgrounds(config, scenes, view, width)
    )
    image = background.expand(-1, places.shape[1], -1, -1, -1)
    alphas: list[Tensor] = []
    for index in range(config.count):
        centre = places[:, :, index]
        if digits:
            alpha, colour = digit_layer(config, [scene.digits[index] for scene in scenes], centre)
        else:
            alpha, colour = sprite_layer(config, [scene.sprites[index] for scene in scenes], centre, width)
        image = image.lerp(colour, alpha[:, :, None])
        alphas = [a * (1 - alpha) for a in alphas] + [alpha]
    return image, background, torch.stack(alphas, 2)


def _through_view(drawn: Tensor, camera: Tensor, size: int) -> Tensor:
    """What a view shows of a scene ``b 1 c h w`` from whole-pixel offsets ``b t``: ``b t c h size``."""
    views = drawn[:, 0].unfold(-1, size, 1).movedim(-2, 1)  # b offset c h size
    return views[torch.arange(len(drawn))[:, None], camera.long()]


def _to_uint8(image: Tensor) -> Tensor:
    return image.mul(255).round_().clamp_(0, 255).to(torch.uint8).movedim(-3, -1).contiguous()
