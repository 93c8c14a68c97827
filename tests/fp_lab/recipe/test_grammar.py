"""The notation: round trips, the paper's names, and errors that point at the token."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fp_lab.recipe import BASE, Kernel, Level, Recipe, RecipeError, Run, Side, parse
from fp_lab.recipe.compressions import from_parts, run_of_rate
from strategies import names


@settings(max_examples=50, deadline=None)
@given(names())
def test_a_canonical_name_is_printed_as_it_was_read(name: str) -> None:
    recipe = parse(name)
    assert str(recipe) == name
    assert parse(str(recipe)) == recipe


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="fgkxhwtdac_+D0123469", max_size=24))
def test_any_text_is_read_canonically_or_rejected_inside_it(name: str) -> None:
    try:
        recipe = parse(name)
    except RecipeError as caught:
        error = caught
    else:
        assert parse(str(recipe)) == recipe
        return
    assert 0 <= error.position <= len(name)
    assert error.position + error.width <= max(len(name), error.position + 1)


def test_a_name_is_read_into_its_parts() -> None:
    run = Run((Level(16, Kernel(4, 8, 8)), Level(2, Kernel(2, 4, 4)), Level(1, BASE)))
    assert parse("td_f16k4f2k2f1k1_g9") == Recipe(9, Side((run,), adjacent=True, tail="td"))
    one = Run((Level(1, BASE),))
    assert parse("f1k1_x_g9_f1k1f2k2f16k4_td") == Recipe(
        9, Side((one,)), Side((run.mirrored,), adjacent=True, tail="td")
    )
    assert parse("f1k1_x_f16k4f2k2f1k1_g9") == Recipe(9, Side((one, run), adjacent=True))
    assert parse("f1k3h4w2_g1") == Recipe(1, Side((Run((Level(1, Kernel(3, 4, 2)),)),), adjacent=True))
    planned = parse("g4_f1k1_x_f2k1_x_f3k1_x_f4k1")
    assert [planned_run.frames for planned_run in planned.right.runs] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("f1k1h2w2_g9", "f1k1_g9"),
        ("f1k2h4w4f1k4h8w8f1k8h16w16f1k16h32w32_g9", "f1k2f1k4f1k8f1k16_g9"),
        ("f1k1h4w2_g9", "f1k1h4w2_g9"),
        ("f1k2f1k2_g9", "f1k2f1k2_g9"),
        ("f1k1_g9+d", "f1k1_g9+D"),
        ("f1k1_g9+D128", "f1k1_g9+D"),
        ("f1k1_g9+d64", "f1k1_g9+D64"),
        ("f1k1_g9+D1", "f1k1_g9+D1"),
        ("g9", "g9"),
    ],
)
def test_printing_is_canonical(name: str, canonical: str) -> None:
    assert str(parse(name)) == canonical


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("g9", "none"),
        ("td_f16k4f2k2f1k1_g9", "vanilla"),
        ("td_f16k4f2k2f1k1_g9+D", "vanilla"),
        ("f1k1_x_f16k4f2k2f1k1_g9", "vanilla"),
        ("td_f16k4f2k2f1k1_g9_x_f1k1", "endpoint"),
        ("td_f16k4f2k2f1k1_x_g9_x_f1k1", "endpoint"),
        ("f1k1_x_g9_f1k1f2k2f16k4_td", "inverted"),
        ("f1k1_g9_x_f1k1_x_f1k1", "planned"),
    ],
)
def test_the_order_follows_from_the_shape(name: str, order: str) -> None:
    assert parse(name).order == order


@pytest.mark.parametrize(
    ("name", "position", "token", "expected"),
    [
        ("f3k5_g9", 3, "5", "1, 2, 4, 8, 16 or NhNwN"),
        ("f3k_g9", 3, "_", "1, 2, 4, 8, 16 or NhNwN"),
        ("f3k1f2k12_g9", 7, "12", "1, 2, 4, 8, 16 or NhNwN"),
        ("f1k2h3w4_g9", 5, "3", "rows"),
        ("f1k2h4w5_g9", 7, "5", "columns"),
        ("f1k2h4_g9", 6, "_", "w and"),
        ("f02k2_g9", 1, "02", "zero"),
        ("f1k1_g0", 6, "0", "zero"),
        ("f1k1_g1000000", 6, "1000000", "999999"),
        ("f1k1_g9+", 8, "", "D, optionally"),
        ("f1k1_g9+Dx", 9, "x", "codebook"),
        ("f1k1_g9x", 7, "x", "_, +D"),
        ("f1_g9", 2, "_", "kernel"),
        ("f1k1g9", 4, "g", "level"),
        ("td_f1k1_x_f1k1_g9", 0, "td", "outer"),
        ("f1k1_td_g9", 5, "td", "outer"),
        ("g9_td_f1k1", 3, "td", "outer"),
        ("td_g9", 0, "td", "outer"),
        ("x_g9", 0, "x", "before"),
        ("g9_x", 3, "x", "after"),
        ("f1k1_x_x_g9", 7, "x", "before"),
        ("f1k1_f1k1_g9", 5, "f1k1", "between"),
        ("g9_f1k1_g9", 8, "g9", "generated"),
        ("f1k1", 4, "", "section"),
        ("", 0, "", "run"),
        ("f1k1__g9", 5, "", "run"),
        ("tx_f1k1_g9", 0, "tx", "tail"),
        ("released", 0, "released", "f16k4f2k2f1k1"),
    ],
)
def test_errors_point_at_the_token(name: str, position: int, token: str, expected: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(name)
    assert expected in caught.value.expected
    assert caught.value.name == name
    assert caught.value.position == position
    if token:
        assert f"got {token!r}" in str(caught.value)
    caret = str(caught.value).splitlines()[-1]
    assert caret == "  " + " " * position + "^" * max(len(token), 1)


def test_an_error_survives_pickling() -> None:
    with pytest.raises(RecipeError) as caught:
        parse("f3k5_g9")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    ("compression", "order", "name"),
    [
        ("geometric", "vanilla", "td_f2k1h8w8f1k1h8w4f1k1h4w4f1k1h4w2f1k1_g9"),
        ("duplicated", "vanilla", "td_f3k1h8w8f3k1h4w4f1k1_g9"),
        ("temporal", "vanilla", "td_f8k8f4k4f2k2f1k1_g9"),
        ("released", "vanilla", "td_f16k4f2k2f1k1_g9"),
        ("released", "endpoint", "td_f16k4f2k2f1k1_g9_x_f1k1"),
        ("released", "inverted", "f1k1_x_g9_f1k1f2k2f16k4_td"),
        ("important_start", "vanilla", "f1k1_x_f16k4f2k2f1k1_g9"),
        ("important_start", "endpoint", "f1k1_x_f16k4f2k2f1k1_g9_x_f1k1"),
        ("important_start", "inverted", "f1k1_x_g9_f1k1f2k2f16k4_td"),
        ("symmetric", "vanilla", "f1k1f2k2_x_f4k4f2k2f1k1_g9"),
        ("symmetric", "inverted", "f1k1_x_g9_f1k1f2k2f4k4_td"),
        ("f3k1_x_f16k4f2k2f1k1", "vanilla", "f3k1_x_f16k4f2k2f1k1_g9"),
        ("f16k4f2k2f1k1", "inverted", "f1k1_x_g9_f1k1f2k2f16k4_td"),
        ("released", "none", "g9"),
    ],
)
def test_parts_resolve_to_the_names_of_the_paper(compression: str, order: str, name: str) -> None:
    recipe = from_parts(compression, order)
    assert str(recipe) == name
    assert parse(name) == recipe
    assert recipe.order == order


def test_every_part_shows_in_the_name() -> None:
    assert str(from_parts("released", "vanilla", 4, None, 128)) == "f16k4f2k2f1k1_g4+D"
    assert str(from_parts("f1k1", "inverted", 2, "tc", 64)) == "f1k1_x_g2+D64_f1k1_tc"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("relased", "vanilla"), r"'relased', .* 'released'\?"),
        (("released", "inverse"), r"'inverse', .* 'inverted'\?"),
        (("released", "vanilla", 9, "tdd"), r"'tdd', .* 'td'\?"),
        (("f1k3", "vanilla"), "got '3' .* 3, expected"),
        (("released", "planned"), "order: got 'planned', .* f16k4f2k2f1k1_x_g9_x_f1k1_x_f1k1"),
        (("released", "vanilla", 0), "section: got 0"),
        (("released", "vanilla", 9, "td", 0), "codebook: got 0"),
        (("rate", "vanilla"), r"'rate'.* rate2\.625"),
        (("rateinf", "vanilla"), r"'rateinf'.* rate2\.625"),
        (("rate1e400", "vanilla"), r"'rate1e400'.* rate2\.625"),
        (("rate2.7", "vanilla"), r"rate: got 2\.7, expected .*1/16, .*2\.6875"),
        (("released", "inverted", 9, "td", None, 2), "sink: got 2 .*'inverted'"),
        (("released", "vanilla", 9, "ta", None, 2), r"tail: got 'ta' .*, expected .*\btd\b"),
        (("symmetric", "endpoint", 9, "tc"), r"tail: got 'tc' .*, expected .*\btd\b"),
        (("important_start", "vanilla", 9, "td", None, 2), "sink: got 2 .* 'important_start'"),
        (("f1k1_x_f2k1_x_f4k1", "vanilla"), "'f1k1_x_f2k1_x_f4k1' .* f1k1_x_f16k4f2k2f1k1"),
    ],
)
def test_wrong_parts_say_what_would_be_right(parts: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_parts(*parts)


def test_the_name_of_a_compression_in_a_recipe_says_what_to_write() -> None:
    with pytest.raises(RecipeError, match=r"f16k4f2k2f1k1 .*'released'"):
        parse("td_released_g9")


def test_sink_frames_are_a_run_at_the_start() -> None:
    assert str(from_parts("released", "vanilla", sink=3)) == "f3k1_x_f16k4f2k2f1k1_g9"
    assert str(from_parts("released", "endpoint", sink=3)) == "f3k1_x_f16k4f2k2f1k1_g9_x_f1k1"


@pytest.mark.parametrize(
    ("rate", "run"),
    [
        (2, "f2k1h8w8f1k1h8w4f1k1h4w4f1k1h4w2f1k1"),
        (2.625, "f2k1h8w8f2k1h8w4f1k1h4w4f2k1h4w2f1k1"),
        (1.3125, "f1k1h8w8f1k1h4w4f1k1"),
        (0.5, "f1k1h4w2"),
        (4.25, "f2k1h8w8f1k1h8w4f2k1h4w4f1k1h4w2f3k1"),
    ],
)
def test_rates_are_made_of_powers_of_two(rate: float, run: str) -> None:
    assert str(run_of_rate(rate)) == run


@given(st.integers(1, 12), st.data())
def test_a_run_costs_its_rate(deepest: int, data: st.DataObject) -> None:
    rate = data.draw(st.integers(1, 6 * 2**deepest)) / 2**deepest
    run = run_of_rate(rate, deepest)
    assert sum(level.frames * BASE.volume / level.kernel.volume for level in run.levels) == rate
    volumes = [level.kernel.volume for level in run.levels]
    assert volumes == sorted(volumes, reverse=True)
    assert parse(f"{run}_g9").left.runs == (run,)


@pytest.mark.parametrize(("rate", "deepest"), [(0, 4), (-1, 4), (2.7, 4), (2, 0), (2, 13)])
def test_rates_that_cannot_be_made_are_refused(rate: float, deepest: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        run_of_rate(rate, deepest)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Kernel(1, 3, 2),
        lambda: Kernel(0, 2, 2),
        lambda: Level(0, BASE),
        lambda: Run(()),
        lambda: Side((), adjacent=True),
        lambda: Side((), tail="td"),
        lambda: Side((Run((Level(1, BASE),)),) * 2, tail="td"),
        lambda: Recipe(1_000_000),
    ],
)
def test_what_no_name_can_write_cannot_be_built(build) -> None:
    with pytest.raises(ValueError, match=r"expected|needs"):
        build()
