import re

import pytest
import torch

from fp_data.worlds import (
    DIRECTIONS,
    SPEEDS,
    VOCABULARY,
    WorldConfig,
    describe,
    iterate,
    render,
    sprite_template,
)

VARIANTS = ("plain", "occlusion", "camera", "revisit")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_video_is_determined_by_its_seed_alone(variant: str) -> None:
    config = WorldConfig(frames=6, variant=variant)  # type: ignore[arg-type]
    alone, together = render(config, [5]), render(config, [3, 5])
    assert torch.equal(alone.frames[0], together.frames[1])
    assert alone.captions[0] == together.captions[1]
    assert not torch.equal(together.frames[0], together.frames[1])


def test_chunks_are_the_same_videos() -> None:
    config = WorldConfig(frames=2)
    whole = render(config, range(5)).frames
    assert torch.equal(whole, torch.cat([part.frames for part in iterate(config, range(5), chunk=2)]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_captions_use_the_vocabulary_and_name_every_attribute(variant: str) -> None:
    config = WorldConfig(variant=variant, sprites=2)  # type: ignore[arg-type]
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
    with pytest.raises(ValueError, match="multiple of 8 and at least 16, got 20"):
        WorldConfig(size=20)
    with pytest.raises(ValueError, match="got 0 and 1"):
        WorldConfig(frames=0)
