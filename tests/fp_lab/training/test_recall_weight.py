"""Weights of what comes back, against cells told by hand and the curtain's truth."""

import pytest
import torch
import torch.nn.functional as F

from fp_data.worlds import WorldConfig, covered, render
from fp_lab.packing.assemble import Arrangement, arrange
from fp_lab.packing.assignment import LevelSlots
from fp_lab.recipe import BASE, parse
from fp_lab.recipe.orders import Section
from fp_lab.training.recall_weight import recall_weights

HIDDEN = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)[
    None, :, None
]
"""One video of four frames of a row of four cells. In the last frame all are shown."""


def shown(targets: tuple[int, ...], known: tuple[int, ...]) -> Arrangement:
    return Arrangement(targets, (LevelSlots(BASE, known, (True,) * len(known)),) if known else ())


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((0, 1, 2), [1, 1, 11, 11]),  # never shown; shown by the nearest; by frame 0; by frames 0 and 1
        ((1, 2), [1, 1, 1, 11]),  # what is not packed is not remembered
        ((2,), [1, 1, 1, 1]),
        ((0, 1), [1, 11, 11, 1]),  # the nearest is frame 1
        ((), [1, 1, 1, 1]),
    ],
)
def test_cells_weigh_more_that_the_nearest_frame_hides_and_another_shows(
    known: tuple[int, ...], expected: list[float]
) -> None:
    weights = recall_weights(HIDDEN, [shown((3,), known)], 10.0)
    assert weights.shape == (1, 1, 1, 4)
    assert weights.flatten().tolist() == expected


def test_a_weight_says_nothing_of_the_section_and_the_nearest_frame_may_come_later() -> None:
    weights = recall_weights(HIDDEN, [shown((1, 2), (0, 3))], 1.0)
    assert weights[0, 0].flatten().tolist() == [2, 1, 1, 1], "frame 1 hides the first cell too, as frame 0"
    assert weights[0, 1].flatten().tolist() == [1, 1, 1, 1], "frame 3, the nearest, shows all"
    otherwise = HIDDEN.clone()
    otherwise[:, 1:3] = ~otherwise[:, 1:3]
    assert torch.equal(recall_weights(otherwise, [shown((1, 2), (0, 3))], 1.0), weights)
    later = torch.tensor([[0], [0], [1]], dtype=torch.bool)[None, :, None]
    assert recall_weights(later, [shown((1,), (0, 2))], 1.0).item() == 1, "of two as near, the earlier"
    assert recall_weights(later.flip(1), [shown((1,), (0, 2))], 1.0).item() == 2


def test_videos_of_a_batch_have_weights_of_their_own() -> None:
    both = torch.cat((torch.zeros_like(HIDDEN), HIDDEN))
    weights = recall_weights(both, [shown((3,), (0, 1, 2)), shown((3,), (1, 2))], 10.0)
    assert weights.flatten().tolist() == [1, 1, 1, 1, 1, 1, 1, 11]


def test_behind_a_curtain_they_lie_where_the_truth_says_that_the_scene_was_seen() -> None:
    config = WorldConfig(variant="curtain", frames=28)
    hidden = covered(config, range(4))
    assert torch.equal(hidden, render(config, range(4)).covered)
    cells = F.max_pool2d(hidden.float(), 4) > 0
    section = Section(tuple(range(19, 28)), frozenset(range(19)))
    weights = recall_weights(cells, [arrange(parse("td_f18k1h4w2f1k1_g9"), section, 28)] * 4, 10.0)
    assert (weights > 1).any()
    seen_before = (~cells[:, :18]).any(1, keepdim=True).expand(-1, 9, -1, -1)
    assert torch.equal(weights == 11, cells[:, 18:19] & seen_before)
