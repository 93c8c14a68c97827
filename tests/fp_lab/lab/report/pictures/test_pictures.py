"""Pictures of structures: drawn from the data, on the page of recipes, and on the command line."""

import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.colors import to_rgb
from PIL import Image
from typer.testing import CliRunner

from fp_lab.baselines import BASELINES, baseline
from fp_lab.cli import app
from fp_lab.explain import explain
from fp_lab.explain.calls import structure
from fp_lab.explain.masks import reading
from fp_lab.lab.report.pictures.attention import draw_reading
from fp_lab.lab.report.pictures.draw import draw, linked
from fp_lab.lab.report.pictures.recipe import draw_structure, stretches
from fp_lab.lab.report.pictures.sheet import (
    DROPPED,
    GENERATED,
    UNKNOWN,
    frame_height,
    level_colour,
    noise_colour,
)
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import COMPRESSIONS, Kernel, RecipeError, parse
from fp_lab.recipe.compressions import from_parts

DOCS = Path(__file__).parents[5] / "docs"
PAGE = DOCS / "recipes.md"
LARGEST = 40_000  # bytes of a picture on the page
DRAWN = (
    "g9",
    "td_f16k4f2k2f1k1_g9",
    "ta_f4k4f2k2f1k1_g2+D",
    "f1k1_x_g2_f1k1f2k2_tc",
    "f8k4_g2_x_f1k1_x_f1k1",
    "f1k16f1k1h6w2_x_g3_x_f1k1",
)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int64)


def colours(path: Path) -> list[tuple[int, ...]]:
    with Image.open(path) as picture:
        return [colour for _, colour in picture.convert("RGB").getcolors(1000)]


def nearest(path: Path, colour: str) -> float:
    """Distance of the nearest colour in a picture, 0 to 255."""
    return float(np.abs(np.array(colours(path)) - 255 * np.array(to_rgb(colour))).max(1).min())


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_has_the_colours_of_its_boxes(name: str, tmp_path: Path) -> None:
    shown = structure(name, 16, 16)
    path = draw_structure(shown, tmp_path / "new" / "picture.png")
    assert pixels(path).shape[1] == 1200
    assert path.stat().st_size < LARGEST
    assert nearest(path, GENERATED["facecolor"]) < 6
    for box in {(box.kind, box.kernel) for row in shown.rows for box in row.boxes}:
        kind, kernel = box
        if kernel is not None:
            assert nearest(path, level_colour(kernel)) < 6, box
        elif kind == "dropped":
            assert nearest(path, DROPPED["facecolor"]) < 6
    assert len(colours(path)) > 20


def test_the_same_name_gives_the_same_bytes_and_another_name_others(tmp_path: Path) -> None:
    first = draw("f1k1_g2", tmp_path / "a.png", 8, 8).read_bytes()
    assert draw("f1k1_g2", tmp_path / "b.png", 8, 8).read_bytes() == first
    assert draw("f2k1_g2", tmp_path / "c.png", 8, 8).read_bytes() != first
    assert draw("f1k1_g2", tmp_path / "d.png", 8, 8, frames=31).read_bytes() != first


def test_a_drawing_can_be_scaled(tmp_path: Path) -> None:
    first = draw("tc_f2k2_g2", tmp_path / "a.svg", 8, 8).read_text()
    assert first.startswith("<?xml")
    assert draw("tc_f2k2_g2", tmp_path / "b.svg", 8, 8).read_text() == first


def test_other_files_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gif.*expected .*\.png or \.svg"):
        draw("g9", tmp_path / "a.gif", 8, 8)
    with pytest.raises(RecipeError):
        draw("anchor_frame", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_levels_go_from_dark_and_high_to_light_and_low() -> None:
    kernels = [Kernel(n, 2 * n, 2 * n) for n in (1, 2, 4, 8, 16)]
    luminances = [float(np.dot(to_rgb(level_colour(k)), (0.2126, 0.7152, 0.0722))) for k in kernels]
    assert all(lighter - darker > 0.05 for darker, lighter in pairwise(luminances))
    heights = [frame_height(kernel) for kernel in kernels]
    assert heights == sorted(set(heights), reverse=True)
    assert level_colour(Kernel(1, 8, 8)) == level_colour(Kernel(4, 4, 4)) == level_colour(Kernel(16, 2, 2))


def test_kinds_can_be_told_apart_without_red_and_green() -> None:
    deuteranopia = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])
    looks = [level_colour(Kernel(n, 2 * n, 2 * n)) for n in (1, 2, 4, 8, 16)]
    looks += [GENERATED["facecolor"], DROPPED["facecolor"], UNKNOWN["edgecolor"], "#ffffff"]
    seen = [deuteranopia @ np.array(to_rgb(look)) ** 2.2 for look in looks]
    seen = [np.clip(colour, 0, 1) ** (1 / 2.2) for colour in seen]
    for index, colour in enumerate(seen):
        for other in seen[:index]:
            assert np.abs(colour - other).max() > 0.06


def test_frames_of_a_token_with_holes() -> None:
    assert stretches((0, 3, 4)) == [(0, 1), (3, 5)]
    assert stretches((2,)) == [(2, 3)]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_drawn_with_the_colours_of_their_noise(name: str, tmp_path: Path) -> None:
    shown = reading(name)
    path = draw_reading(shown, tmp_path / f"{name}.png")
    assert path.stat().st_size < LARGEST
    assert len(colours(path)) > 20
    clean = draw_reading(dataclasses.replace(shown, noises=(0.0,)), tmp_path / "clean.png")
    if shown.noises != (0.0,):
        assert pixels(path).shape != pixels(clean).shape or (pixels(path) != pixels(clean)).any()
    assert nearest(path, noise_colour(shown.noises[-1])) < 6


def test_the_page_shows_every_picture_in_its_folder_and_no_other() -> None:
    pictures = linked(PAGE)
    assert len(pictures) > 30
    assert set(pictures) == set((DOCS / "images" / "recipes").iterdir())
    assert max(picture.stat().st_size for picture in pictures) < LARGEST


@pytest.mark.parametrize(
    "name", ["td_f16k4f2k2f1k1_g9", "f16k4f2k2f1k1_x_g9_x_f1k1_x_f1k1", "history_guidance"]
)
def test_the_pictures_of_the_page_are_what_is_drawn_today(name: str, tmp_path: Path) -> None:
    kept = pixels(DOCS / "images" / "recipes" / f"{name}.png")
    drawn = pixels(draw(name, tmp_path / "drawn.png"))
    assert drawn.shape == kept.shape, "draw them again: fp-lab explain --page docs/recipes.md"
    assert np.abs(drawn - kept).mean() < 2, "draw them again: fp-lab explain --page docs/recipes.md"


def mentioned() -> set[str]:
    """Whatever stands in backticks, in a command or in a picture's link and looks like a recipe."""
    text = PAGE.read_text(encoding="utf-8")
    words = set(re.findall(r"`([^`\s]+)`", text)) | set(re.findall(r"[\w+./]+", text))
    words = {word.rpartition("/")[2].removesuffix(".png") for word in words}
    return {word for word in words if re.search(r"(^|_)g\d+(\+D\d*)?(_|$)", word)}


def test_recipes_on_the_page_are_canonical() -> None:
    names = mentioned()
    assert len(names) > 25
    for name in names:
        assert str(parse(name)) == name
    for run in re.findall(r"`((?:f\d+k[\dhw]+)+)`", PAGE.read_text(encoding="utf-8")):
        assert str(parse(f"{run}_g1")) == f"{run}_g1"


def structures() -> dict[str, str]:
    """The name in a heading -> the line below it."""
    blocks = re.findall(
        r"^### (?:[^`\n]*)`([^`]+)`\n\n(.+?)\n\n!", PAGE.read_text(encoding="utf-8"), re.M | re.S
    )
    return {name: " ".join(line.split()) for name, line in blocks}


def test_every_structure_has_its_picture_and_the_tokens_that_fp_lab_counts() -> None:
    lines = structures()
    assert [*lines, *list(BASELINES)[:-1]] == [picture.stem for picture in linked(PAGE)]
    for name, line in lines.items():
        limit = explain(name).context_limit
        said = re.findall(r"[Aa]t most ([\d,]+) tokens", line)
        if limit is None:
            assert "without end" in line
            assert not said
        else:
            assert [int(number.replace(",", "")) for number in said] == [limit], name
        if generated := re.search(r"and ([\d,]+) generated", line):
            assert int(generated[1].replace(",", "")) == explain(name).section_tokens
    for variant, tokens in {"base": 3120, "lite": 2080, "extended": 3900}.items():
        assert explain(str(from_parts(variant, "vanilla"))).context_limit == tokens


def test_compressions_on_the_page_are_those_of_the_names() -> None:
    said = {}
    for name, line in structures().items():
        if found := re.search(r"`compression: ([\w.]+)`", line):
            said[found[1]] = name
    assert set(said) >= set(COMPRESSIONS)
    for compression, name in said.items():
        assert str(from_parts(compression, "vanilla")) == name


def rows_of(heading: str) -> list[list[str]]:
    """Cells of the table below a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def options(kind: Any, prefix: str) -> dict[str, Any]:
    """Dotted keys of a config and their defaults."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        value = getattr(kind(), field.name)
        nested = dataclasses.is_dataclass(value)
        found |= (
            options(type(value), f"{prefix}.{field.name}") if nested else {f"{prefix}.{field.name}": value}
        )
    return found


def test_every_option_of_the_context_has_a_row_that_begins_with_its_default() -> None:
    said = {
        key.strip("`"): values.split(",")[0].strip("`")
        for key, values, *_ in rows_of("Options of the context")
    }
    expected = options(ContextConfig, "context")
    assert said == {
        key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in expected.items()
    }


def test_every_baseline_has_a_row_with_its_recipe_and_its_lines_of_config() -> None:
    rows = rows_of("Baselines")
    assert [row[0].strip("`") for row in rows] == list(BASELINES)
    for name, sees, *_, config in rows:
        settings = yaml.safe_load(config.strip("`"))
        assert settings == {"baseline": name.strip("`"), "protocol": "paper"}
        made = baseline(settings["baseline"], settings["protocol"], frames=69, rows=60, columns=104)
        for recipe in re.findall(r"`([^`]+)`", sees):
            assert recipe == str(made.recipe)


def test_the_commands_draw_one_picture_or_those_of_a_page(tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(
        app, ["explain", "f1k1_g2", "--picture", str(tmp_path / "one.png"), "--pixels", "64x64"]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "one.png").is_file()
    page = tmp_path / "page.md"
    page.write_text("![](images/g2.png) and ![a baseline](images/repeating_i2v.svg)\n")
    assert run.invoke(app, ["explain", "--page", str(page)]).exit_code == 0
    assert {path.name for path in (tmp_path / "images").iterdir()} == {"g2.png", "repeating_i2v.svg"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a NAME"),
        (["g9", "--page", "page.md"], "give a NAME"),
        (["g9", "--picture", "a.png", "--json"], "give one of"),
        (["g9", "--picture", "a.gif"], ".png or .svg"),
        (["g9", "--picture", "a.png", "--frames", "1"], "expected at least 2"),
    ],
)
def test_mistakes_are_said_in_words(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["explain", *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_a_baseline_is_explained_by_its_settings_and_its_recipe() -> None:
    done = CliRunner().invoke(app, ["explain", "noisy_history_test0.5"])
    assert done.exit_code == 0, done.output
    assert "sampling.history_level: 0.5" in done.output
    assert "f16k1_g17" in done.output
