"""Token counts against the published figures, and bounds on the context length."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fp_lab.packing.token_counts import (
    context_length,
    context_limit,
    context_tokens,
    ideal_context_length,
    ideal_limit,
    kernel_tokens,
    level_tokens,
    section_tokens,
    with_history,
)
from fp_lab.recipe import Kernel, parse
from fp_lab.recipe.compressions import from_parts
from fp_lab.recipe.orders import Section, plan
from strategies import names


@pytest.mark.parametrize(
    ("height", "width", "quadruple", "double", "single", "noisy"),
    [(60, 104, 416, 390, 3120, 14040), (48, 80, 240, 240, 1920, 8640), (8, 8, 4, 4, 32, 144)],
)
def test_released_layouts(
    height: int, width: int, quadruple: int, double: int, single: int, noisy: int
) -> None:
    forward, inverted = parse("td_f16k4f2k2f1k1_g9"), parse("f1k1_x_g9_f1k1f2k2f16k4_td")
    assert level_tokens(forward, height, width) == (quadruple, double, single // 2)
    assert level_tokens(inverted, height, width) == (single // 2, single // 2, double, quadruple)
    assert section_tokens(forward, height, width) == noisy


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        (str(from_parts("geometric", "vanilla")), 3146),
        (str(from_parts("duplicated", "vanilla")), 3042),
        (str(from_parts("temporal", "vanilla")), 2082),
        ("td_f2k2f1k1h4w4f1k1h4w2f1k1_g9", 3120),
        ("td_f20k4f1k1_g9", 2080),
        ("td_f2k2f1k1h4w4f2k1h4w2f1k1_g9", 3900),
        ("g9", 0),
    ],
)
def test_published_context_limits_at_480p(name: str, tokens: int) -> None:
    assert context_limit(parse(name), 60, 104) == tokens
    assert context_length(parse(name), 100, 60, 104) == tokens


def test_k16_counts_as_16_32_32() -> None:
    assert kernel_tokens(17, Kernel(16, 32, 32), 33, 64) == 2 * 2 * 2


def test_a_level_filled_in_part_counts_its_known_frames() -> None:
    recipe = parse("td_f16k4f2k2f1k1_g9")
    lengths = [context_length(recipe, n, 8, 8) for n in range(10)]
    assert lengths == [0, 16, 20, 20, 21, 21, 21, 21, 22, 22]


def test_tails() -> None:
    lengths = {
        tail: [context_length(parse(f"{tail}_f4k4f1k1_g2"), n, 60, 104) for n in (5, 6, 16)]
        for tail in ("td", "ta", "tc")
    }
    full = 1560 + 8 * 13
    assert lengths == {
        "td": [full, full, full],
        "ta": [full, full + 1, full + 11],
        "tc": [full, full + 8 * 13, full + 8 * 13],
    }
    assert context_limit(parse("ta_f4k4f1k1_g2"), 60, 104) is None
    # A (2,4) grid of pooled pixels does not fit into one (1,2,2) kernel.
    assert context_length(parse("ta_f1k1_g2"), 3, 60, 104) == 1560 + 2 * 2


@pytest.mark.parametrize("name", ["f1k1_x_g2_f1k1f4k4_ta", "f1k1_x_g2_f1k1f4k4_tc"])
def test_a_tail_on_the_right_counts_too(name: str) -> None:
    assert context_length(parse(name), 1 + 5 + 1, 8, 8) == 16 + 16 + 1 + 1


@settings(max_examples=40, deadline=None)
@given(names(), st.integers(1, 70))
@example("g1_x_f1k1_tc", 1)
@example("tc_f1k1_g1_f1k1", 1)
def test_context_grows_to_its_limit(name: str, history: int) -> None:
    recipe = parse(name)
    here, more, far = (context_length(recipe, n, 12, 20) for n in (history, history + 1, history + 300))
    assert here <= more <= far
    limit = context_limit(recipe, 12, 20)
    if limit is not None:
        assert far <= limit
    if limit is not None and len(recipe.left.runs) < 3:
        # A third run on the left waits for a planned endpoint there; all else fills.
        assert far == limit


@settings(max_examples=40, deadline=None)
@given(names(), st.integers(0, 80))
def test_a_placed_section_has_the_history_it_was_asked_for(name: str, history: int) -> None:
    recipe = parse(name)
    placed = with_history(recipe, history)
    assert len(placed.section.known) == history
    assert placed.section.known.isdisjoint(placed.section.targets)
    assert all(0 <= f < placed.length for f in (*placed.section.known, *placed.section.targets))


@pytest.mark.parametrize("order", ["vanilla", "endpoint", "inverted"])
def test_no_call_of_a_plan_exceeds_the_limit(order: str) -> None:
    recipe = from_parts("released", order)
    calls = [context_tokens(recipe, section, 200, 8, 8).total for section in plan(recipe, 200)]
    assert max(calls) == context_limit(recipe, 8, 8)


def test_ideal_lengths() -> None:
    # FramePack section 3.1: L = S*Lf + Lf * sum of rate^-i, with limit (S + rate/(rate-1)) * Lf.
    assert ideal_context_length(9, 0, 2.0, 1560.0) == 9 * 1560
    assert ideal_context_length(9, 3, 2.0, 1560.0) == 1560 * (9 + 1.75)
    assert ideal_limit(9, 2.0, 1560.0) == 1560 * 11
    assert ideal_limit(1, 4.0, 3.0) == pytest.approx(ideal_context_length(1, 60, 4.0, 3.0))
    # The geometric schedule without padding is the ideal one.
    exact = parse("td_f2k2f1k1h4w4f1k1h4w2f1k1_g9")
    assert ideal_limit(9, 2.0, 1560.0) == section_tokens(exact, 60, 104) + (
        context_limit(exact, 60, 104) or 0
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ideal_limit(9, 1.0, 1560.0), r"rate: got 1\.0, expected"),
        (lambda: ideal_context_length(9, 3, 0.5, 1560.0), r"rate: got 0\.5, expected .*\b1$"),
        (lambda: kernel_tokens(1, Kernel(1, 2, 2), 0, 8), "0x8 latents"),
        (lambda: with_history(parse("g9"), -1), "history: got -1"),
        (
            lambda: context_tokens(parse("f1k1_g9"), Section((), frozenset()), 3, 8, 8),
            r"section: .*\btargets\b",
        ),
    ],
)
def test_impossible_sizes_say_why(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
