"""Packing by importance: cosine and time, ties, cuts, and a place that is seen again."""

import math
from statistics import fmean
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fp_data.worlds import WorldConfig, render
from fp_lab.codecs.tiny import Codec
from fp_lab.packing.assemble import arrange_videos
from fp_lab.packing.assignment import LevelSlots, assign, assign_by_importance, assign_by_time
from fp_lab.packing.context import ContextConfig, ImportanceConfig
from fp_lab.packing.importance import cosine_similarity, importance_of, time_similarity
from fp_lab.recipe import parse
from fp_lab.recipe.orders import Section, plan
from strategies import names

RECIPE = parse("td_f4k2f2k1h4w4f1k1_g3")
SIMILAR, HYBRID = ImportanceConfig("similarity"), ImportanceConfig("hybrid", 1.0, 8.0)


def known(slots: tuple[LevelSlots, ...]) -> list[tuple[int, ...]]:
    return [tuple(f for f, k in zip(slot.frames, slot.known, strict=True) if k) for slot in slots]


def history(frames: int, recipe_section: int = 3) -> Section:
    return Section(tuple(range(frames, frames + recipe_section)), frozenset(range(frames)))


def test_cosine_is_the_mean_over_pixels() -> None:
    frames, reference = torch.randn(2, 5, 4, 3, 6), torch.randn(2, 5, 3, 6)
    expected = torch.zeros(2, 4)
    for b in range(2):
        for t in range(4):
            for y in range(3):
                for x in range(6):
                    p, q = frames[b, :, t, y, x], reference[b, :, y, x]
                    expected[b, t] += (p @ q) / (p.norm() * q.norm()) / 18
    torch.testing.assert_close(cosine_similarity(frames, reference), expected)
    assert cosine_similarity(torch.zeros(1, 5, 1, 3, 6), reference[:1]).item() == 0


def test_time_counts_in_seconds() -> None:
    assert time_similarity(torch.tensor(3.0), torch.tensor(4.5)).item() == pytest.approx(math.exp(-2.25))
    latents = torch.ones(1, 2, 20, 2, 2)
    (row,) = importance_of(latents, [history(16)], HYBRID)
    assert row[:16] == pytest.approx([1 + math.exp(-(((15 - t) / 8) ** 2)) for t in range(16)])
    (weighted,) = importance_of(latents, [history(16)], ImportanceConfig("hybrid", 0.25, 8.0))
    assert weighted[7] == pytest.approx(1 + 0.25 * math.exp(-1))


def test_the_most_important_frames_go_to_the_nearest_levels() -> None:
    importance = [0.0] * 13
    for rank, frame in enumerate([2, 7, 5, 9, 1, 0, 3]):
        importance[frame] = 1 - rank / 10
    slots = assign_by_importance(RECIPE, history(10), 13, importance)
    assert known(slots) == [(0, 1, 3, 9), (5, 7), (2,)]


def test_ties_go_to_the_frame_that_is_nearer() -> None:
    section = history(10)
    assert known(assign_by_importance(RECIPE, section, 13, [0.5] * 13)) == known(
        assign_by_time(RECIPE, section, 13)
    )
    nan = [math.nan] * 13
    assert known(assign_by_importance(RECIPE, section, 13, nan)) == known(assign_by_time(RECIPE, section, 13))
    nan[4] = -1.0
    assert known(assign_by_importance(RECIPE, section, 13, nan))[-1] == (4,)


def test_slots_without_a_frame_are_not_known_and_lie_before_all_frames() -> None:
    slots = assign_by_importance(RECIPE, history(2), 5, [0.0, 1.0, 0.0, 0.0, 0.0])
    assert known(slots) == [(), (0,), (1,)]
    nowhere = [f for slot in slots for f, k in zip(slot.frames, slot.known, strict=True) if not k]
    assert max(nowhere) < 0
    assert len(nowhere) == len(set(nowhere)) == 5


def test_the_kept_first_frame_and_endpoints_stay_where_they_are() -> None:
    recipe = parse("f1k1_x_f4k2f1k1_g3_x_f1k1_x_f2k1")
    blocks = frozenset({*range(10), *range(20, 23), *range(30, 33)})
    section = Section((10, 11, 12), blocks)
    importance = [float(frame == 3) for frame in range(33)]
    slots = assign_by_importance(recipe, section, 33, importance)
    assert known(slots)[0] == (0,)
    assert known(slots)[2] == (3,)
    assert known(slots)[-1] == (31, 32)


@settings(max_examples=60, deadline=None)
@given(names(), st.integers(2, 60), st.data())
def test_no_frame_comes_twice_and_none_is_unknown_whatever_the_importance(
    name: str, frames: int, data: st.DataObject
) -> None:
    recipe = parse(name)
    values = st.floats(-1, 1) | st.just(math.nan) | st.just(0.5)
    importance = data.draw(st.lists(values, min_size=frames, max_size=frames))
    for section in plan(recipe, frames)[:5]:
        given_out = assign(recipe, section, frames, importance)
        packed = [f for part in known(given_out.slots) for f in part]
        tails = [f for tail in given_out.tails for f in tail.frames]
        assert len(packed + tails) == len(set(packed + tails))
        assert set(packed + tails) <= section.known
        assert [s.kernel for s in given_out.slots] == [level.kernel for level in recipe.levels]
        by_time = assign(recipe, section, frames)
        adjacent = len(recipe.left.runs) == 1 and recipe.left.adjacent and not recipe.right.runs
        if adjacent:  # as many frames as by time
            assert len(packed) == len([f for part in known(by_time.slots) for f in part])


def test_importance_needs_a_value_for_every_frame() -> None:
    with pytest.raises(ValueError, match=r"got 3 values, expected .*\b13 frames"):
        assign_by_importance(RECIPE, history(10), 13, [1.0] * 3)
    with pytest.raises(ValueError, match="time_weight -1"):
        ImportanceConfig(time_weight=-1)


def test_after_a_cut_the_frames_before_it_come_last() -> None:
    generator = torch.Generator().manual_seed(0)
    before, after = torch.randn(2, 1, 8, 1, 4, 4, generator=generator)
    latents = torch.cat((before.expand(-1, -1, 9, -1, -1), after.expand(-1, -1, 4, -1, -1)), 2)
    latents = latents + 0.01 * torch.randn(latents.shape, generator=generator)
    for config in (SIMILAR, HYBRID):
        (row,) = importance_of(latents, [history(10)], config)
        finest = known(assign_by_importance(RECIPE, history(10), 13, row))
        assert finest[-1] == (9,), "the estimate itself"
    latents[:, :, 5] = latents[:, :, 9]
    (row,) = importance_of(latents, [history(10)], SIMILAR)
    assert 5 in known(assign_by_importance(RECIPE, history(10), 13, row))[1]


def latents_of(variant: Literal["camera", "revisit"], seeds: range) -> torch.Tensor:
    world = render(WorldConfig(size=32, frames=64, variant=variant), seeds)
    pixels = world.frames.movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        return Codec.load("shipped").encode(pixels)


def packed_frames(kind: Literal["time", "similarity", "hybrid"], latents: torch.Tensor, section: Section):  # type: ignore[no-untyped-def]
    recipe = parse("td_f4k2f2k1h4w4f1k1_g9")
    config = ContextConfig(importance=ImportanceConfig(kind))
    for arrangement in arrange_videos(recipe, [section] * len(latents), latents, config):
        yield [f for slot in arrangement.slots for f in slot.frames]


def test_a_place_seen_again_is_packed_from_when_it_was_seen_before() -> None:
    """The camera cuts away in frames 21 to 41 and back: by time, most of the context is of another place."""
    latents = latents_of("revisit", range(8))
    section = plan(parse("td_f4k2f2k1h4w4f1k1_g9"), 64)[5]  # frames 46 to 54; known until 45
    shares = {}
    for kind in ("time", "similarity", "hybrid"):
        packed = list(packed_frames(kind, latents, section))
        shares[kind] = fmean(fmean(not 21 <= f < 42 for f in frames) for frames in packed)
    assert shares["time"] == pytest.approx(4 / 7)
    assert shares["similarity"] > 0.9
    assert shares["hybrid"] > shares["time"]


def test_a_camera_that_pans_back_finds_what_lies_ahead() -> None:
    latents = latents_of("camera", range(8))
    section = plan(parse("td_f4k2f2k1h4w4f1k1_g9"), 64)[-1]  # frames 55 to 63: the way back
    place = 1.25 * torch.sin(math.pi * torch.arange(64) / 63) ** 2  # in views
    gaps = {}
    for kind in ("time", "similarity"):
        packed = list(packed_frames(kind, latents, section))
        nearest = [[(place[frames] - place[t]).abs().min() for t in section.targets] for frames in packed]
        gaps[kind] = torch.tensor(nearest).mean().item()
    assert gaps["similarity"] < 0.8 * gaps["time"]
