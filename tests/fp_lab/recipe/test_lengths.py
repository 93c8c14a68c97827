"""Whole sections: the released code's lengths and paddings, and what training draws."""

import pytest
import torch

from fp_lab.causal import Blocks
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.assignment import assign
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.positions import place, released_paddings
from fp_lab.recipe import parse
from fp_lab.recipe.lengths import left_over, nearest_whole, not_whole, sections_in
from fp_lab.recipe.orders import plan

INVERTED = "f1k1_x_g9_f1k1f2k2f16k4_td"
FRAMES = {1: 1, 37: 10, 73: 19, 81: 21, 145: 37}
"""Latent frames of videos of so many frames, of which four become one behind the first."""


@pytest.mark.parametrize(
    ("seconds", "fps", "temporal", "section", "sections"),
    [
        (5, 30, 4, 9, 4),  # the released inference: 145 frames
        (20, 30, 4, 9, 17),  # 16.67
        (60, 30, 4, 9, 50),
        (0.1, 30, 4, 9, 1),
        (3, 30, 4, 9, 2),  # 2.5, which Python rounds to the even number
        (5, 16, 4, 9, 2),
        (4, 16, 1, 9, 7),
    ],
)
def test_seconds_are_the_released_codes_sections(
    seconds: float, fps: float, temporal: int, section: int, sections: int
) -> None:
    assert sections_in(seconds, fps, temporal, section) == sections


@pytest.mark.parametrize(
    ("sections", "paddings"),
    [(4, (3, 2, 1, 0)), (5, (3, 2, 2, 1, 0)), (17, (3, *[2] * 14, 1, 0))],
)
def test_videos_of_whole_sections_have_the_released_paddings(
    sections: int, paddings: tuple[int, ...]
) -> None:
    recipe, frames = parse(INVERTED), 1 + 9 * sections
    made = plan(recipe, frames)
    assert [len(section.targets) for section in made] == [9] * sections
    config = ContextConfig(padding="released")
    starts = [min(place(recipe, s, frames, assign(recipe, s, frames), config)[0]) for s in made]
    assert starts == [1 + 9 * padding for padding in paddings]
    assert released_paddings(sections) == paddings


def test_a_length_that_is_not_whole_names_those_that_are() -> None:
    assert [left_over(9, FRAMES[n]) for n in (1, 37, 73, 81, 145)] == [0, 0, 0, 2, 0]
    assert (left_over(9, 36, 0), left_over(9, 37, 0), left_over(9, 24, 6)) == (0, 1, 0)
    assert nearest_whole(9, 21) == (19, 28)
    assert nearest_whole(9, 5) == (10,)
    assert not_whole(9, 19, 1, 4) is None
    said = not_whole(9, 21, 1, 4)
    assert said is not None
    for figure in ("21 latent frames (81 of video)", "19 latent frames (73 of video)", "(109 of video)"):
        assert figure in said


@pytest.mark.parametrize("name", ["td_f16k4f2k2f1k1_g9", INVERTED, "td_f16k4f2k2f1k1_g9_x_f1k1", "g9"])
@pytest.mark.parametrize("frames", [73, 145])
def test_whole_windows_train_whole_sections_alone(name: str, frames: int) -> None:
    source = PlannedSections(parse(name), given=(0, 1, 6))
    drawn = shares(source, FRAMES[frames])
    assert drawn == source.short_share(FRAMES[frames]) == 0


def test_windows_of_81_frames_train_short_sections() -> None:
    source = PlannedSections(parse(INVERTED), given=(0, 1, 6))
    # behind 0, 1 and 6 given ones of 21 latent frames: 9 9 3, 9 9 2, 9 6
    closed_form = (1 / 3 + 1 / 3 + 1 / 2) / 3
    assert source.short_share(FRAMES[81]) == pytest.approx(closed_form)
    assert shares(source, FRAMES[81]) == pytest.approx(0.39, abs=0.05)


def shares(source: PlannedSections, frames: int) -> float:
    """Share of 600 draws whose section is not whole."""
    latents, generator = torch.zeros(1, 1, frames, 8, 8), torch.Generator().manual_seed(0)
    drawn = [source.draw(latents, ContextConfig(), generator)[0] for _ in range(600)]
    return sum(len(arrangement.targets) % source.recipe.section > 0 for arrangement in drawn) / len(drawn)


def test_windows_of_blocks_are_whole_likewise() -> None:
    blocks = Blocks.of(parse("f12k1_g4"))
    assert blocks.short_share(1 + 4 * 5) == 0
    windows = blocks.windows(64)
    assert blocks.short_share(64) == pytest.approx(1 / len(windows)), "63 frames are 15 blocks of 4 and 3"
