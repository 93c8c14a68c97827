import pytest
import torch

from fp_lab.packing.assemble import Arrangement, FreeSections, PlannedSections, arrange, assemble
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe, parse
from fp_lab.recipe.orders import plan

NAMES = [
    "td_f16k4f2k2f1k1_g9",
    "td_f8k8f4k4f2k2f1k1_g4",
    "f1k1_x_g9_f1k1f2k2f16k4_td",
    "td_f16k4f2k2f1k1_g9_x_f1k1",
    "f1k1_x_f16k4f2k2f1k1_g9",
    "g9",
]
FRAMES = 64
DEFAULTS = ContextConfig()


def numbered(items: int = 2, frames: int = FRAMES) -> torch.Tensor:
    """Latents whose value is the frame's index plus 1000 times the item's."""
    values = torch.arange(frames)[None] + 1000 * torch.arange(items)[:, None] + 0.5
    return values[:, None, :, None, None].expand(items, 1, frames, 8, 8)


FILLED = [(name, "forward") for name in NAMES]
FILLED += [(name, "bisect") for name in NAMES if parse(name).order == "endpoint"]  # others have no gap


@pytest.mark.parametrize(("name", "fill"), FILLED)
def test_what_the_sampler_sees_is_what_training_can_draw(name: str, fill: str) -> None:
    recipe = parse(name)
    sampled = {arrange(recipe, section, FRAMES) for section in plan(recipe, FRAMES, fill=fill)}  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    source = PlannedSections(recipe, fill)  # type: ignore[arg-type]
    drawn = {a for _ in range(300) for a in source.draw(numbered(2), DEFAULTS, generator)}
    assert drawn == sampled


@pytest.mark.parametrize("name", NAMES)
def test_training_begins_with_as_many_frames_as_the_sampler_may(name: str) -> None:
    recipe, begins = parse(name), (0, 1, 7)
    lengths = {given: FRAMES - (FRAMES - given) % recipe.section for given in begins}
    lengths = lengths if recipe.section == 9 else dict.fromkeys(begins, FRAMES)  # 63 frames are whole or not
    sampled = {
        arrange(recipe, section, length)
        for given, length in lengths.items()
        for section in plan(recipe, length, given=frozenset(range(given)))
    }
    generator = torch.Generator().manual_seed(0)
    source = PlannedSections(recipe, given=begins)
    assert {a for _ in range(900) for a in source.draw(numbered(2), DEFAULTS, generator)} == sampled
    with pytest.raises(ValueError, match=r"\b64 .*\bgiven, .* 65$"):
        PlannedSections(recipe, given=(64,)).draw(numbered(2), DEFAULTS, generator)


@pytest.mark.parametrize("name", NAMES)
def test_contexts_hold_the_latents_of_their_times_and_never_the_future(name: str) -> None:
    recipe, latents = parse(name), numbered()
    for section in plan(recipe, FRAMES):
        hidden = latents.clone()
        hidden[:, :, [t for t in range(FRAMES) if t not in section.known]] = float("nan")
        sample = assemble(hidden, [arrange(recipe, section, FRAMES)])
        for level in sample.context:
            used = level.latents[:, 0, :, 0, 0][level.known]
            item = torch.arange(2)[:, None].expand_as(level.times)[level.known]
            assert torch.equal(used, level.times[level.known] + 1000 * item + 0.5)


def test_known_frames_come_first_and_the_last_is_repeated() -> None:
    recipe = parse("td_f16k4f2k2f1k1_g9")
    section = plan(recipe, FRAMES)[1]  # frames 10 to 18, history 0 to 9
    level = assemble(numbered(1), [arrange(recipe, section, FRAMES)], "drop").context[0]
    assert level.times[0].tolist() == [0, 1, 2, 3, 4, 5, 6] + [6] * 9
    assert level.known[0].tolist() == [True] * 7 + [False] * 9


def test_missing_frames_are_zero_latents_at_their_virtual_times() -> None:
    recipe = parse("f1k1_x_g9_f1k1f2k2f16k4_td")
    section = plan(recipe, FRAMES)[0]  # the last frames: nothing to their right
    first, *right = assemble(numbered(1), [arrange(recipe, section, FRAMES)], "zero").context
    assert first.latents.unique().tolist() == [0.5]
    assert [level.times[0, 0].item() for level in right] == [64, 65, 67]
    assert all(level.latents.abs().sum() == 0 and level.known.all() for level in right)


def test_endpoint_trains_its_first_call_in_proportion_to_the_plan() -> None:
    recipe: Recipe = parse("td_f16k4f2k2f1k1_g9_x_f1k1")
    source, generator = PlannedSections(recipe), torch.Generator().manual_seed(0)
    calls = [len(source.draw(numbered(3), DEFAULTS, generator)[0].targets) for _ in range(600)]
    assert set(calls) == {9, 18}
    assert calls.count(18) / 600 == pytest.approx(1 / 6, abs=0.05)


def test_draws_are_per_item_and_repeatable() -> None:
    source = PlannedSections(parse("td_f16k4f2k2f1k1_g9"))
    first = source.draw(numbered(16), DEFAULTS, torch.Generator().manual_seed(3))
    assert first == source.draw(numbered(16), DEFAULTS, torch.Generator().manual_seed(3))
    assert len({a.targets for a in first}) > 3


def test_free_sections_cover_before_after_and_between() -> None:
    source, generator = FreeSections(section=9, known=6, double=0.3), torch.Generator().manual_seed(0)
    places, counts = set(), set()
    for _ in range(200):
        batch = source.draw(numbered(2, 40), DEFAULTS, generator)
        assert len({(len(a.targets), sum(len(s.frames) for s in a.slots)) for a in batch}) == 1
        for arrangement in batch:
            known = [frame for slot in arrangement.slots for frame in slot.frames]
            assert len(set(known)) == len(known)
            assert not set(known) & set(arrangement.targets)
            counts.add(len(known))
            low, high = arrangement.targets[0], arrangement.targets[-1]
            places |= {"before" if k < low else "after" if k > high else "between" for k in known}
    assert counts == set(range(7))
    assert places == {"before", "after", "between"}


def test_errors_say_what_came() -> None:
    with pytest.raises(ValueError, match=r"got 2 arrangements .*3 videos"):
        assemble(numbered(3), [Arrangement((0,), ()), Arrangement((1,), ())])
    with pytest.raises(ValueError, match=r"\b10 frames .*\b1 sections .*\b24 frames"):
        FreeSections(double=0).draw(numbered(1, 10), DEFAULTS, torch.Generator())
