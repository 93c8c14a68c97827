"""Weights of what comes back, against cells counted by hand and the curtain's truth."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fp_data.latents import to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.packing.assemble import Arrangement, arrange
from fp_lab.packing.assignment import LevelSlots
from fp_lab.recipe import BASE, parse
from fp_lab.recipe.orders import Section
from fp_lab.training.recall_weight import recall_weights


def shown(targets: tuple[int, ...], known: tuple[int, ...]) -> Arrangement:
    return Arrangement(targets, (LevelSlots(BASE, known, (True,) * len(known)),) if known else ())


def video(*frames: list[float]) -> Tensor:
    """One video ``1 1 t 1 w``."""
    return torch.tensor(frames)[None, None, :, None]


# Columns of the last frame: new; as in frame 1 alone; as in frame 1 alone; as in its nearest.
FRAMES = video([2.0, -2.0, 2.0, -2.0], [2.0, 2.0, -2.0, 2.0], [2.0, -2.0, 2.0, -2.0], [-2.0, 2.0, -2.0, -2.0])


def test_cells_that_only_a_frame_far_away_shows_have_the_weight() -> None:
    weights = recall_weights(FRAMES, [shown((3,), (0, 1, 2))], 10.0)
    assert weights.shape == (1, 1, 1, 4)
    assert weights.flatten().tolist() == [1, 11, 11, 1], "16 apart, of a variance of 4.3"


def test_what_came_back_by_half_of_the_variance_has_half_of_the_weight() -> None:
    # column 0 came back by 1; the variance of 1, 3, 1, 3, 0, -1, 1, 1 is 12.875 / 7
    frames = video([1.0, 3.0], [1.0, 3.0], [0.0, -1.0], [1.0, 1.0])
    weights = recall_weights(frames, [shown((3,), (0, 1, 2))], 4.0)
    assert weights[..., 0].item() == pytest.approx(1 + 4 * 7 / 12.875)
    assert weights[..., 1].item() == 1, "as far from the best as from the nearest"


def test_what_is_not_packed_is_not_remembered_and_no_history_has_no_weight() -> None:
    for known in ((2,), (0, 2), ()):  # of these only frame 1 shows columns 1 and 2
        assert (recall_weights(FRAMES, [shown((3,), known)], 10.0) == 1).all(), known


def test_the_nearest_frame_is_that_of_the_time_on_either_side() -> None:
    both = video([5.0], [0.0], [0.0], [-5.0])  # 1 lies next to 0, which is another; 2 next to 3
    first, second = recall_weights(both, [shown((1, 2), (0, 3))], 1.0).flatten().tolist()
    assert (first, second) == (1, 1), "as far from the other side"
    assert recall_weights(both, [shown((0,), (1, 2))], 1.0).item() == 1


def test_videos_of_a_batch_have_weights_of_their_own() -> None:
    still = torch.zeros_like(FRAMES)
    weights = recall_weights(torch.cat((still, FRAMES)), [shown((3,), (1,)), shown((3,), (0, 1, 2))], 10.0)
    assert (weights[0] == 1).all(), "no variance, no weight, no NaN"
    assert weights[1].max() == 11


def test_behind_a_curtain_the_weight_lies_where_the_truth_says_that_the_scene_comes_back() -> None:
    world = render(WorldConfig(variant="curtain", frames=28), range(4))
    pixels = F.avg_pool3d(to_pixels(world.frames), (1, 4, 4))
    covered = F.avg_pool2d(world.covered.float(), 4)
    recipe = parse("td_f18k1_g9")
    section = Section(tuple(range(19, 28)), frozenset(range(19)))
    weights = recall_weights(pixels, [arrange(recipe, section, 28)] * 4, 10.0)
    seen = covered == 0
    back = seen[:, 19:] & (covered[:, 18] == 1)[:, None] & seen[:, 1:19].any(1)[:, None]
    same = seen[:, 19:] & seen[:, 18, None]
    assert back.any()
    assert same.any()
    assert weights[back].mean() > 4
    assert weights[same].mean() < 1.2
