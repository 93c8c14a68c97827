"""Frame indices of the released inference, in both directions, and what an option does to them."""

from itertools import pairwise

import pytest

from fp_lab.packing.assemble import Arrangement, arrange
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.positions import released_paddings
from fp_lab.recipe import parse
from fp_lab.recipe.orders import Section, plan


def span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def released_indices(window: int, padding: int) -> list[tuple[int, ...]]:
    """Start, section, 1x, 2x, 4x: ``arange(1 + padding*window + window + 1 + 2 + 16)``, split in order."""
    sizes = [1, padding * window, window, 1, 2, 16]
    edges = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    parts = [tuple(range(a, b)) for a, b in pairwise(edges)]
    return [parts[0], *parts[2:]]


def times_of(arrangement: Arrangement) -> list[tuple[int, ...]]:
    start, *right = (slot.times for slot in arrangement.slots)
    return [start, arrangement.times, *right]


@pytest.mark.parametrize("window", [1, 4, 9])
@pytest.mark.parametrize("sections", range(1, 9))
def test_inverted_indices_are_the_released_ones(sections: int, window: int) -> None:
    recipe = parse(f"f1k1_x_g{window}_f1k1f2k2f16k4_td")
    length = 1 + window * sections
    calls = plan(recipe, length)
    assert len(calls) == sections
    for call, section in enumerate(calls):
        true = arrange(recipe, section, length)
        assert times_of(true) == released_indices(window, sections - 1 - call)
        released = arrange(recipe, section, length, ContextConfig(padding="released"))
        assert times_of(released) == released_indices(window, released_paddings(sections)[call])
        assert [slot.frames for slot in released.slots] == [slot.frames for slot in true.slots]


@pytest.mark.parametrize(
    ("sections", "paddings"),
    [
        (1, (0,)),
        (2, (1, 0)),
        (4, (3, 2, 1, 0)),
        (5, (3, 2, 2, 1, 0)),
        (6, (3, 2, 2, 2, 1, 0)),
        (8, (3, 2, 2, 2, 2, 2, 1, 0)),
    ],
)
def test_paddings_of_long_videos_are_stretched(sections: int, paddings: tuple[int, ...]) -> None:
    assert released_paddings(sections) == paddings


@pytest.mark.parametrize("window", [1, 4, 9])
@pytest.mark.parametrize("sections", range(1, 9))
def test_forward_indices_are_always_the_same(sections: int, window: int) -> None:
    recipe = parse(f"f1k1_x_f16k4f2k2f1k1_g{window}")
    config = ContextConfig(positions="relative", start_in_history=True, missing="zero")
    length = 1 + window * sections
    for section in plan(recipe, length):
        arrangement = arrange(recipe, section, length, config)
        assert [slot.times for slot in arrangement.slots] == [(0,), span(1, 16), span(17, 18), (19,)]
        assert arrangement.times == span(20, 19 + window)
        first = section.targets[0]
        assert arrangement.slots[-1].frames == (first - 1,)
        assert arrangement.slots[-1].known == (True,), "the start frame is part of its own history"


def test_absolute_positions_leave_skipped_frames_out() -> None:
    recipe = parse("f1k1_x_f4k2f1k1_g4")
    arrangement = arrange(recipe, Section(span(30, 33), frozenset(range(30))), 34)
    assert [slot.times for slot in arrangement.slots] == [(0,), span(25, 28), (29,)]
    assert arrangement.times == span(30, 33)


@pytest.mark.parametrize("name", ["ta_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_ta"])
def test_relative_tails_count_on_outwards(name: str) -> None:
    recipe = parse(name)
    section = plan(recipe, 41)[-2]
    arrangement = arrange(recipe, section, 41, ContextConfig(positions="relative"))
    (tail,) = arrangement.tails
    slots = [time for slot in arrangement.slots for time in slot.times]
    everything = sorted([*slots, *arrangement.times, *tail.times])
    assert everything == list(range(everything[0], everything[0] + len(everything)))
    outside = [t for t in tail.times if t < 0 or t > max(slots)]
    assert len(outside) == len(tail.times) > 0


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"context\.padding: got 'released' .*\brelative\b"):
        ContextConfig(padding="released", positions="relative")
    with pytest.raises(ValueError, match=r"context\.timestep: got 'same' .*'zero'"):
        ContextConfig(attention="isolated")
