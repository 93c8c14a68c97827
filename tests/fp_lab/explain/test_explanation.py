"""``explain``: what a name means, as data, as a picture and on the command line."""

import json

import pytest
import typer
from typer.testing import CliRunner

from fp_lab.cli.explain import explain as command
from fp_lab.explain import Explanation, Strip, explain, latent_size, picture, sparkline

INVERTED = "f1k1_x_g9_f1k1f2k2f16k4_td"


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


def test_released_inverted_groups_equal_kernels() -> None:
    explanation = explain(INVERTED)
    rows = {row.label: row.tokens for row in explanation.kernels}
    assert rows == {"4x": 416, "2x": 390, "1x": 3120}
    assert explanation.section_tokens == 14040
    assert explanation.order == "inverted"
    assert explanation.context_limit == 416 + 390 + 3120
    assert explanation.context_lengths[0] == 1560
    assert explanation.context_lengths[-1] == explanation.context_limit
    assert [row.placement for row in explanation.levels] == ["nearest known"] + ["adjacent"] * 3


def test_the_plan_runs_in_generation_order() -> None:
    explanation = explain(INVERTED, 8, 8, frames=37)
    assert [call.targets for call in explanation.plan] == [((28, 36),), ((19, 27),), ((10, 18),), ((1, 9),)]
    assert [call.known for call in explanation.plan] == [1, 10, 19, 28]
    assert [call.context_tokens for call in explanation.plan] == [16, 16 + 16 + 4 + 2, 16 + 16 + 4 + 4, 40]


@pytest.mark.parametrize(
    ("name", "frames", "drawn"),
    [
        (INVERTED, 37, "1.........GGGGGGGGG122444444444444444"),
        ("td_f4k4f2k2f1k1_g2", 19, "--4444221GG........"),
        ("tc_f4k4f2k2f1k1_g2", 19, "tt4444221GG........"),
        ("f1k1_x_f4k4f2k2f1k1_g2", 19, "A-4444221GG........"),
        ("td_f2k2f1k1_x_g2_x_f1k1", 11, "221GG1-..--"),
        ("f1k1h4w2_g2", 5, "--aGG"),
        ("g2", 5, "---GG"),
        ("f1k1_g2_x_f1k1_x_f2k1", 13, "--1GG1-....AA"),
    ],
)
def test_the_picture_of_the_middle_call(name: str, frames: int, drawn: str) -> None:
    assert picture(explain(name, 8, 8, frames).middle) == drawn


def test_an_endpoint_name_with_gaps_on_both_sides_is_bisected() -> None:
    assert explain("f1k1_x_g2_x_f1k1", frames=19).plan[1].targets == ((9, 10),)
    assert explain("f1k1_g2_x_f1k1", frames=19).plan[1].targets == ((3, 4),)
    assert explain("f1k1_g2_x_f1k1", frames=19).plan[0].targets == ((1, 2), (17, 18))
    assert explain("f1k1_g2").fill is None


def test_planned_names_have_a_plan_and_a_video_of_its_first_frame_says_why_not() -> None:
    planned = explain("f1k1_g9_x_f1k1_x_f1k1", frames=37)
    assert [call.targets for call in planned.plan] == [((10, 18),), ((28, 36),), ((1, 9),), ((19, 27),)]
    assert planned.note is None
    given = explain("f1k1_g9", frames=1)
    assert given.plan == ()
    assert given.note == "no plan: every frame of the video is given"


def test_json_is_complete_and_stable() -> None:
    values = json.loads(json.dumps(explain(INVERTED, 8, 8).as_json()))
    assert set(values) == set(Explanation.__dataclass_fields__)
    assert values["levels"][3] == {
        "level": "f16k4",
        "side": "right",
        "placement": "adjacent",
        "frames": 16,
        "kernel": [4, 8, 8],
        "tokens": 4,
        "fit": {"padding": 0.0, "whole_frames": 4},
    }
    assert values["cautions"] == ["k4 on 8x8 latents is one token for 4 whole frames"]
    assert values["kernels"][0] == {"kernel": "k4", "label": "4x", "symbol": "4", "frames": 16, "tokens": 4}
    assert values["middle"][0] == {"first": 0, "last": 0, "kind": "level", "symbol": "1", "kernel": "k1"}
    assert values["plan"][0] == {"targets": [[37, 45]], "known": 1, "context_tokens": 16}


def test_sizes_are_in_pixels_or_in_latents_of_any_codec() -> None:
    assert latent_size("pixels", "480x832") == (60, 104)
    assert latent_size("latents", "15x26") == (15, 26)
    for bad in ("480", "480x", "480x833", "0x8", "axb", "-8x8"):
        with pytest.raises(ValueError, match="pixels: got"):
            latent_size("pixels", bad)
    for bad in ("16", "0x8", "8x-8"):
        with pytest.raises(ValueError, match="latents: got"):
            latent_size("latents", bad)


def test_long_stretches_are_cut_and_counted() -> None:
    assert picture([Strip(0, 29, "gap", ".", None)], longest=6) == "..(30).."
    assert picture([Strip(0, 5, "gap", ".", None)], longest=6) == "......"


def test_the_sparkline_ends_at_the_top() -> None:
    assert sparkline((1, 4, 8, 8)) == "▁▄██"
    assert len(sparkline(tuple(range(1, 500)))) == 60
    assert sparkline((0, 0)) == "  "


def test_the_command_prints_tables(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, [INVERTED, "--pixels", "480x832"])
    assert result.exit_code == 0
    for text in ("inverted order", "14,040", "3,120", "limit 3,926", "37-45"):
        assert text in result.output


def test_the_command_prints_json(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["td_f1k1_g9+D", "--latents", "8x8", "--frames", "19", "--json"])
    expected = json.loads(json.dumps(explain("td_f1k1_g9+D", 8, 8, 19).as_json()))
    assert json.loads(result.output) == expected


@pytest.mark.parametrize(
    "name", ["g9", "ta_f1k1_g9+D64", "f1k1_g9_x_f1k1_x_f1k1", "g1", "f40k1h6w2_x_g3_x_f1k1"]
)
def test_the_command_shows_every_shape(app: typer.Typer, name: str) -> None:
    result = CliRunner().invoke(app, [name, "--latents", "8x8"])
    assert result.exit_code == 0
    assert name in result.output


def test_the_command_tells_of_kernels_that_do_not_fit(app: typer.Typer) -> None:
    name = "td_f8k8f4k4f2k2f1k1_g9"
    small = CliRunner().invoke(app, [name, "--pixels", "64x64"]).output
    assert small.count("75% padding") == 2, "in the level's row and below"
    assert "k4 on 8x8 latents is one token for 4 whole frames" in small
    fine = CliRunner().invoke(app, [name]).output
    assert "padding" not in fine
    assert "whole frame" not in fine


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["f3k5_g9"], "     ^\n"),
        (["g9", "--pixels", "481x832"], "divisible by 8"),
        (["g9", "--pixels", "480x832", "--latents", "60x104"], "give --pixels or"),
        (["g9", "--frames", "0"], "--frames"),
        (["g9", "--latents", "0x104"], "latents: got '0x104'"),
        (["td_" + "f1k1" * 3000 + "_g9"], "got 3000 levels, expected 256 at most"),
        (["f1k1_x_" * 3000 + "g9"], "got 3000 levels, expected 256 at most"),
        (["td_f999999k1_g9"], "expected 4096 at most"),
        (["g9", "--frames", "4097"], "frames: got 4097"),
    ],
)
def test_the_command_refuses_in_words(app: typer.Typer, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("geometric", ".*compression.* td_f2k1h8w8f1k1"),
        ("important_start", ".*compression.* f1k1_x_f16k4f2k2f1k1_g9"),
        ("inverted", ".*order.*released.* f1k1_x_g9_f1k1f2k2f16k4_td"),
        ("causal_atention", r".* causal_attention\?"),
        ("geometrc", r".* geometric\?"),
    ],
)
def test_a_word_that_is_no_recipe_says_what_it_stands_for(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^recipe '{name}': {message}"):
        explain(name)
