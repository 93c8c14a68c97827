"""The planner: full coverage without overlap, and the paper's orders."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fp_lab.recipe import parse
from fp_lab.recipe.orders import Fill, even_scenes, implied_fill, plan, prompts_of
from strategies import names


@settings(max_examples=50, deadline=None)
@given(names(), st.integers(1, 90), st.data())
def test_a_plan_covers_every_frame_once_and_knows_only_the_past(
    name: str, frames: int, data: st.DataObject
) -> None:
    recipe = parse(name)
    given_frames = data.draw(st.frozensets(st.integers(0, frames - 1), max_size=4) | st.just(frozenset({0})))
    fill: Fill = (
        data.draw(st.sampled_from(["forward", "bisect"])) if recipe.order == "endpoint" else "forward"
    )
    known = set(given_frames)
    for section in plan(recipe, frames, given=given_frames, fill=fill):
        assert section.known == known
        assert section.targets == tuple(sorted(set(section.targets)))
        assert 1 <= len(section.targets) <= recipe.section * (2 if recipe.order == "endpoint" else 1)
        assert known.isdisjoint(section.targets)
        known.update(section.targets)
    assert known == set(range(frames))


def test_the_memory_of_a_plan_grows_with_the_length_of_the_video() -> None:
    """Not with its square: 100,000 frames are more than an hour of video."""

    def peak(frames: int) -> int:
        tracemalloc.start()
        plan(parse("f1k1_x_g9_f1k1f2k2f16k4_td"), frames)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(40_001) < 8 * peak(10_001)  # the square would be 16


def test_known_frames_are_a_set_like_others() -> None:
    second = plan(parse("g3"), 9)[1].known
    assert second == frozenset({0, 1, 2, 3})
    assert hash(second) == hash(plan(parse("g3"), 9)[1].known)
    assert second - {1, 2} == {0, 3}
    assert second | {7} == {0, 1, 2, 3, 7}
    assert (4 in second, -1 in second, 99 in second, len(second), list(second)) == (
        False, False, False, 4, [0, 1, 2, 3],
    )  # fmt: skip


def targets(name: str, frames: int, fill: Fill = "forward") -> list[tuple[int, ...]]:
    return [section.targets for section in plan(parse(name), frames, fill=fill)]


def span(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


@pytest.mark.parametrize("name", ["g9", "td_f16k4f2k2f1k1_g9", "f1k1_x_f16k4f2k2f1k1_g9"])
def test_forward_ends_with_the_remainder(name: str) -> None:
    assert targets(name, 31) == [span(1, 9), span(10, 18), span(19, 27), span(28, 30)]


def test_inverted_counts_from_the_end_and_leaves_the_remainder_beside_the_first_frame() -> None:
    name = "f1k1_x_g9_f1k1f2k2f16k4_td"
    assert targets(name, 37) == [span(28, 36), span(19, 27), span(10, 18), span(1, 9)]
    assert targets(name, 31) == [span(22, 30), span(13, 21), span(4, 12), span(1, 3)]


def test_endpoint_makes_both_ends_first() -> None:
    name = "td_f16k4f2k2f1k1_g9_x_f1k1"
    assert targets(name, 46) == [span(1, 9) + span(37, 45), span(10, 18), span(19, 27), span(28, 36)]
    assert targets(name, 40)[1:] == [span(10, 18), span(19, 27), span(28, 30)]


def test_bisecting_takes_the_middle_first() -> None:
    calls = targets("f1k1_x_g2_x_f1k1", 19, "bisect")
    starts = [call[0] for call in calls[1:]]
    assert calls[0] == (1, 2, 17, 18)
    assert starts == [9, 5, 13, 3, 7, 11, 15]


@pytest.mark.parametrize("frames", [2, 10, 15, 19])
def test_endpoint_falls_back_to_one_section_where_both_ends_meet(frames: int) -> None:
    assert targets("td_f1k1_g9_x_f1k1", frames) == [span(1, frames - 1)]


def test_nothing_to_generate_is_an_empty_plan() -> None:
    assert plan(parse("td_f1k1_g9_x_f1k1"), 1) == ()
    assert plan(parse("g9"), 3, given=frozenset({0, 1, 2})) == ()


def test_a_given_last_frame_is_kept() -> None:
    sections = plan(parse("f1k1_g3"), 8, given=frozenset({0, 4, 7}))
    assert [section.targets for section in sections] == [(1, 2, 3), (5, 6)]


def test_endpoint_makes_both_ends_around_a_given_frame() -> None:
    sections = plan(parse("f1k1_g2_x_f1k1"), 13, given=frozenset({6}))
    assert [section.targets for section in sections] == [(0, 1, 11, 12), (2, 3), (4, 5), (7, 8), (9, 10)]


def test_gaps_on_both_sides_stand_for_bisecting() -> None:
    assert implied_fill(parse("td_f16k4f2k2f1k1_x_g9_x_f1k1")) == "bisect"
    assert implied_fill(parse("td_f16k4f2k2f1k1_g9_x_f1k1")) == "forward"
    assert implied_fill(parse("f1k1_x_g9_f1k1")) == "forward"


def test_planned_endpoints_come_first_each_under_its_own_prompt() -> None:
    sections = plan(parse("f16k4f2k2f1k1_g9_x_f1k1_x_f1k1_x_f1k1"), 64)
    made = [(s.targets[0], s.targets[-1], s.prompt) for s in sections]
    assert made[:3] == [(19, 27, 0), (37, 45, 1), (55, 63, 2)]
    assert made[3:] == [(1, 9, 0), (10, 18, 0), (28, 36, 1), (46, 54, 2)]


def test_more_endpoints_than_sections_are_what_there_is() -> None:
    sections = plan(parse("g9_x_f1k1_x_f1k1_x_f1k1"), 12)
    assert [(s.targets, s.prompt) for s in sections] == [(span(1, 9), 0), (span(10, 11), 1)]


def test_only_the_planned_order_takes_several_prompts() -> None:
    assert prompts_of(parse("g9_x_f1k1_x_f1k1")) == 2
    assert {prompts_of(parse(n)) for n in ("g9", "f1k1_g9", "f1k1_x_g9_f1k1", "f1k1_g9_x_f1k1")} == {1}
    for name in ("g9", "f1k1_g9", "f1k1_x_g9_f1k1", "f1k1_g9_x_f1k1"):
        assert {section.prompt for section in plan(parse(name), 40)} == {0}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("g9", {"frames": 0}, "frames: got 0"),
        ("g9", {"frames": 5, "given": frozenset({5})}, r"given: got \[5\]"),
        ("g9", {"frames": 5, "fill": "bisect"}, "fill: got 'bisect'"),
    ],
)
def test_impossible_plans_say_why(name: str, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(parse(name), **arguments)


@pytest.mark.parametrize("name", ["td_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_td", "f4k1_g4_x_f1k1", "g4"])
@pytest.mark.parametrize("given", [0, 1, 6])
def test_a_video_begins_with_any_number_of_frames(name: str, given: int) -> None:
    sections = plan(parse(name), 21, given=frozenset(range(given)))
    made = [frame for section in sections for frame in section.targets]
    assert sorted(made) == list(range(given, 21))
    assert sections[0].known == frozenset(range(given))


@pytest.mark.parametrize("name", ["td_f4k2f1k1_g4", "f1k1_x_g4_f1k1f4k2_td"])
def test_a_section_has_the_prompt_of_the_scene_that_holds_its_middle(name: str) -> None:
    sections = plan(parse(name), 21, scenes=(0, 8, 14))
    for section in sections:
        middle = section.targets[2]
        assert section.prompt == (0 if middle < 8 else 1 if middle < 14 else 2)
    assert {section.prompt for section in sections} == {0, 1, 2}
    assert even_scenes(21, 3) == (0, 7, 14)
    assert even_scenes(5, 1) == (0,)


@pytest.mark.parametrize(
    ("name", "scenes", "match"),
    [
        ("g4", (0, 21), r"scenes: got .*\(0, 21\), expected .*\bascend\b.* 0 .* 21\b"),
        ("g4", (1,), r"scenes: got .*\(1,\), expected .*\bascend\b"),
        ("g4", (0, 5, 5), r"scenes: got .*\(0, 5, 5\), expected .*\bascend\b"),
        ("f4k1_g4_x_f1k1", (0, 5), r"scenes: got 2 [^,]*\bendpoint\b"),
        ("f4k1_g4_x_f1k1_x_f1k1", (0, 5), r"scenes: got 2 [^,]*\bplanned\b"),
    ],
)
def test_scenes_that_cannot_be_are_refused(name: str, scenes: tuple[int, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        plan(parse(name), 21, scenes=scenes)
