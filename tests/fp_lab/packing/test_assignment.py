"""Which frame lands where: the released index table, anchors, and no frame twice."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fp_lab.packing.assignment import LevelSlots, assign_by_time, tail_by_time
from fp_lab.recipe import Recipe, parse
from fp_lab.recipe.orders import Section, plan
from strategies import names

INVERTED = parse("f1k1_x_g9_f1k1f2k2f16k4_td")


def span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


def known(slots: tuple[LevelSlots, ...]) -> list[int]:
    return [f for slot in slots for f, here in zip(slot.frames, slot.known, strict=True) if here]


@pytest.mark.parametrize(
    ("p", "generated", "nearest", "double", "quadruple"),
    [
        (0, span(1, 9), span(10, 10), span(11, 12), span(13, 28)),
        (1, span(10, 18), span(19, 19), span(20, 21), span(22, 37)),
        (2, span(19, 27), span(28, 28), span(29, 30), span(31, 46)),
        (3, span(28, 36), span(37, 37), span(38, 39), span(40, 55)),
    ],
)
@pytest.mark.parametrize("sections", [4, 7])
def test_inverted_indices_are_the_released_ones(
    p: int,
    generated: tuple[int, ...],
    nearest: tuple[int, ...],
    double: tuple[int, ...],
    quadruple: tuple[int, ...],
    sections: int,
) -> None:
    length = 1 + 9 * sections
    section = plan(INVERTED, length)[sections - 1 - p]
    assert section.targets == generated
    slots = assign_by_time(INVERTED, section, length)
    assert [slot.frames for slot in slots] == [(0,), nearest, double, quadruple]
    assert [str(slot.kernel) for slot in slots] == ["k1", "k1", "k2", "k4"]
    assert all(slot.known == tuple(f < length for f in slot.frames) for slot in slots)


def test_the_released_forward_layout() -> None:
    recipe = parse("f1k1_x_f16k4f2k2f1k1_g9")
    slots = assign_by_time(recipe, Section(span(20, 28), frozenset(range(20))), 29)
    assert [slot.frames for slot in slots] == [(0,), span(1, 16), span(17, 18), (19,)]
    assert all(all(slot.known) for slot in slots)


def test_the_anchored_run_keeps_the_start_frame() -> None:
    recipe = parse("f1k1_x_f16k4f2k2f1k1_g9")
    slots = assign_by_time(recipe, Section(span(1, 9), frozenset({0})), 10)
    assert slots[0].frames == (0,)
    assert slots[0].known == (True,)
    assert slots[-1].frames == (0,)
    assert known(slots) == [0]


def test_an_adjacent_run_misses_what_does_not_exist() -> None:
    recipe = parse("td_f16k4f2k2f1k1_g9")
    slots = assign_by_time(recipe, Section(span(5, 13), frozenset({0, 1, 2})), 14)
    assert [slot.frames for slot in slots] == [span(-14, 1), span(2, 3), (4,)]
    assert [slot.known for slot in slots] == [(False,) * 14 + (True, True), (True, False), (False,)]


def test_a_run_after_x_finds_the_nearest_known_frame_at_any_distance() -> None:
    recipe = parse("f2k2f1k1_x_g9_x_f1k1")
    section = Section(span(20, 28), frozenset(range(10)) | frozenset(range(37, 46)))
    assert known(assign_by_time(recipe, section, 46)) == [7, 8, 9, 37]


def test_the_first_endpoint_call_has_no_endpoint_yet() -> None:
    recipe = parse("td_f16k4f2k2f1k1_g9_x_f1k1")
    section = plan(recipe, 46)[0]
    slots = assign_by_time(recipe, section, 46)
    assert known(slots) == [0]
    assert [slot.frames for slot in slots[-2:]] == [(0,), (46,)]
    later = plan(recipe, 46)[1]
    assert assign_by_time(recipe, later, 46)[-1] == LevelSlots(recipe.levels[-1].kernel, (37,), (True,))


def test_planned_runs_find_their_endpoints() -> None:
    recipe = parse("f1k1_g9_x_f1k1_x_f2k1_x_f3k1")
    blocks = {0, *range(20, 29), *range(40, 49), *range(60, 69)}
    slots = assign_by_time(recipe, Section(span(1, 9), frozenset(blocks)), 69)
    assert [slot.frames for slot in slots] == [(0,), (20,), (40, 41), (66, 67, 68)]
    assert all(all(slot.known) for slot in slots)


def check(recipe: Recipe, section: Section, length: int) -> None:
    slots = assign_by_time(recipe, section, length)
    assert [slot.kernel for slot in slots] == [level.kernel for level in recipe.levels]
    assert [len(slot.frames) for slot in slots] == [level.frames for level in recipe.levels]
    packed = known(slots)
    assert len(packed) == len(set(packed))
    assert set(packed) <= section.known
    left = len(recipe.left.levels)
    assert all(f < min(section.targets) for f in known(slots[:left]))
    assert all(f > max(section.targets) for f in known(slots[left:]))
    tail = tail_by_time(recipe, section, length)
    assert set(tail.left + tail.right) <= section.known - set(packed)


@settings(max_examples=40, deadline=None)
@given(names(), st.integers(2, 80))
def test_in_every_order_the_context_is_known_and_no_frame_comes_twice(name: str, frames: int) -> None:
    recipe = parse(name)
    for section in plan(recipe, frames):
        check(recipe, section, frames)


@settings(max_examples=40, deadline=None)
@given(names(), st.integers(0, 400), st.integers(0, 400))
def test_any_history_is_assigned(name: str, before: int, after: int) -> None:
    recipe = parse(name)
    first, last = before, before + recipe.section - 1
    length = last + 1 + after
    frames = frozenset(range(length)) - frozenset(range(first, last + 1))
    check(recipe, Section(span(first, last), frames), length)


@pytest.mark.parametrize("history", [0, 1, 18, 19, 20, 57, 400])
def test_levels_fill_from_the_section_outwards_and_the_tail_has_the_rest(history: int) -> None:
    recipe = parse("td_f16k4f2k2f1k1_g9")
    section = Section(span(history, history + 8), frozenset(range(history)))
    slots = assign_by_time(recipe, section, history + 9)
    assert known(slots) == list(range(max(0, history - 19), history))
    assert tail_by_time(recipe, section, history + 9).left == tuple(range(max(0, history - 19)))


@pytest.mark.parametrize("bad", [(), (5, 12)])
def test_sections_outside_the_video_are_rejected(bad: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="section: got"):
        assign_by_time(INVERTED, Section(bad, frozenset({0})), 10)
