"""What is said of arms before they cost anything, and that what is documented gives no reason to."""

import io
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from rich.console import Console

import fp_lab.lab.grids.cautions as cautions_of
import fp_lab.lab.grids.run_grid as grid_run
from fake_runs import INVERTED, VANILLA
from fixtures import tiny_config, tiny_experiment
from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.config import load
from fp_lab.lab.grids.cautions import cautions, kernel_remarks, length_remarks
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.planning.latent_shape import LatentShape
from fp_lab.lab.provenance.base_origin import knows_only_the_world, toy_base
from fp_lab.lab.report.grid_page import _page
from fp_lab.lab.results.gather import gather
from fp_lab.weights.shipped import shipped_folder
from made_up_scores import Figures, made_up_grid

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", ["demo/memory", "demo/drift", "clips", "quickstart", "memory", "drift"])
def test_documented_grids_are_of_whole_sections(name: str) -> None:
    assert [length_remarks(arm.config) for arm in load_grid(name).arms if length_remarks(arm.config)] == []


@pytest.mark.parametrize("page", ["docs/encoding.md", "docs/models.md", "Makefile", "fp_lab/cli/encode.py"])
def test_documented_windows_are_whole_sections_of_nine(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    windows = re.findall(r"(?:fp-lab encode .*|^TINY.*)--frames (\d+)|\bframes: (\d+), size: 480", text, re.M)
    assert windows
    assert [pair for pair in windows if (int("".join(pair)) - 1) % 36] == []


def test_the_documented_grid_over_wan_is_of_whole_sections(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yaml\n(# my_wan.yaml\n.*?)```", text, re.DOTALL)
    settings = yaml.safe_load(written)["common"]
    frames = settings["data"]["clips"]["frames"]
    own = {"recipe": "g9", "data": {"world": {"frames": 1 + (frames - 1) // 4}}}
    own |= {key: settings[key] for key in ("objective", "evaluation")}
    (tmp_path / "arm.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    config = load(tmp_path / "arm.yaml")
    assert config.objective.given == (0, 1, 6)
    assert length_remarks(config) == ()


def test_what_does_not_fit_is_named_once_when_a_grid_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_experiment(tmp_path)
    settings = (
        "common: {data.world.frames: 21, evaluation.frames: 38, objective.given: [0, 1, 6], section: 9}"
    )
    axes = "axes: {compression: [f2k2f1k1], order: [vanilla, inverted], section: [9]}"
    (tmp_path / "grid.yaml").write_text(f"base: tiny\n{settings}\n{axes}\n", encoding="utf-8")
    grid = load_grid(tmp_path / "grid.yaml")
    windows, videos, kernels = cautions(grid.arms)
    for part in ("data.world.frames=21", "19 latent frames or 28", "39% of the steps"):
        assert part in windows
    for part in ("evaluation.frames=38", "the shortest has 1", "37 latent frames or 46"):
        assert part in videos
    for part in ("data.world.size=32", "k2 on 4x4 latents", "one token for 2 whole frames"):
        assert part in kernels
    monkeypatch.setattr(grid_run, "Tracker", MagicMock())
    monkeypatch.setattr(grid_run, "_log_report", lambda *_: None)
    monkeypatch.setattr(
        grid_run, "ArmScheduler", MagicMock(return_value=MagicMock(failed={}, halted="stopped"))
    )
    console = Console(width=400, file=io.StringIO())
    grid_run.run_grid(grid, tmp_path / "runs", console, command="test")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for arm in grid.arms:
        assert shown.count(f"{arm.name}") == 3, "once per remark"


def test_kernels_are_held_against_the_windows_of_a_cache_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(tmp_path, ["recipe=td_f2k4f1k1_g3", "data.world.size=128"])
    assert kernel_remarks(config) == (), "16x16 latents"
    shapes = {LatentShape(10, 16, 16): 3, LatentShape(10, 6, 20): 1}
    monkeypatch.setattr(cautions_of, "training_shapes", lambda _: shapes)
    (said,) = kernel_remarks(config)
    assert "k4 on 6x20 latents is 38% padding" in said, "8 x 24 are covered, 120 of 192 are there"
    assert "one token" not in said


def arm_on(kind: str, base: str | None) -> dict[str, Any]:
    return {"data": {"kind": kind}, "model": {"base": base}}


def test_a_base_is_known_by_what_it_was_trained_on_not_by_its_name(tmp_path: Path) -> None:
    assert "shipped" in str(toy_base(arm_on("clips", "shipped")))
    assert toy_base(arm_on("world", "shipped")) is None
    assert toy_base(arm_on("clips", None)) is None
    assert toy_base(arm_on("clips", str(tmp_path / "real"))) is None
    renamed = tmp_path / "wan"
    shutil.copytree(shipped_folder("base"), renamed)
    assert str(renamed) in str(toy_base(arm_on("clips", str(renamed))))
    for kind, knows in (("world", True), ("clips", False)):
        run = tmp_path / kind
        (run / "train" / "model").mkdir(parents=True)
        (run / "config.yaml").write_text(yaml.safe_dump(arm_on(kind, str(renamed))), encoding="utf-8")
        assert knows_only_the_world(str(run / "train" / "model")) is knows
    (told, *_) = cautions(load_grid("clips").arms)
    assert told.startswith("model.base=shipped was trained on the synthetic world alone")


def test_a_report_on_clips_from_such_a_base_begins_with_that(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path, {VANILLA: Figures(0.9), INVERTED: Figures(0.8)}, videos=4)
    (of_kernels,) = gather([grid]).cautions
    assert set(of_kernels.split("; ")) == {
        "k1 on 2x2 latents is one token for a whole frame",
        "k2 on 2x2 latents is 75% padding and one token for 2 whole frames",
        "k4 on 2x2 latents is 94% padding and one token for 4 whole frames",
        "k8 on 2x2 latents is 98% padding and one token for 8 whole frames",
    }
    for run in (grid / arm / "seed0" for arm in (VANILLA, INVERTED)):
        config = (run / "config.yaml").read_text(encoding="utf-8")
        (run / "config.yaml").write_text(config.replace("kind: world", "kind: clips"), encoding="utf-8")
    comparison = compare_runs([grid])
    said, other = comparison.gathered.cautions
    assert other == of_kernels
    assert said.startswith("model.base=shipped was trained on the synthetic world alone")
    assert comparison.markdown.startswith(said)
    assert said in comparison.text
    for key in ("drift-world", "score-world"):
        assert comparison.table(key).notes[0] == said
    page = _page("grid", comparison, {})
    assert 0 < page.index(escape(said)) < page.index(escape(comparison.verdict.arms))


def test_a_remark_about_many_arms_names_the_first_of_them(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    rates = ", ".join(f"{rate / 1000}" for rate in range(1, 101))
    axes = f"axes: {{optimizer.learning_rate: [{rates}]}}"
    path.write_text(f"base: base\ncommon: {{compression: temporal}}\n{axes}\n", encoding="utf-8")
    (said,) = [line for line in cautions(load_grid(path).arms) if "whole frames" in line]
    assert len(said) < 400
    assert "and 97 more" in said
