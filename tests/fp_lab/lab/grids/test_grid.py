"""Grids: which arms a file makes, and that interruptions and failures cost only what they must."""

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console
from safetensors.torch import load_file

from fixtures import real_clip
from fp_lab.lab.dry_run.cost_estimate import estimate
from fp_lab.lab.dry_run.plan_table import plan_table
from fp_lab.lab.files.experiments import find_grids
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import grid_jobs, run_grid
from fp_lab.lab.runs import run as run_module

QUIET = Console(quiet=True)
GOOD, INVERTED, BAD = "td_f2k2f1k1_g3", "f1k1_x_g3_f1k1f2k2_td", "td_f2k2f1k1_g3--sampling.fill=bisect"
GRID = """\
base: tiny
common: {section: 3}
axes: {compression: [f2k2f1k1], order: [vanilla, inverted]}
"""
FAILING = f"{GRID}arms: [{{compression: f2k2f1k1, order: vanilla, sampling.fill: bisect}}]\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def tracked(runs: Path) -> dict[str, Run]:
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'fp_lab'")
    found = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in found}) == len(found), "a run is there twice"
    return {run.info.run_name: run for run in found}


def test_the_demo_has_both_halves_with_their_controls() -> None:
    drift, memory = (load_grid(path) for path in find_grids("demo"))
    orders = {arm.config.parsed_recipe.order for arm in drift.arms}
    assert orders == {"vanilla", "endpoint", "inverted", "none"}
    assert {"g9", "td_f1k1_g9", "td_f19k1_g9"} < {arm.name for arm in memory.arms}
    assert {arm.config.data.world.variant for arm in memory.arms} == {"curtain"}
    for grid in (drift, memory):
        for arm in grid.arms:
            assert arm.config.evaluation.videos >= 16
            assert arm.config.evaluation == grid.arms[0].config.evaluation
            assert arm.config.data == grid.arms[0].config.data
            assert arm.config.training.threads == 1


def test_axes_make_a_product_less_what_is_excluded(folder: Path) -> None:
    text = """\
    base: tiny
    axes: {training.steps: [1, 2], optimizer.learning_rate: [0.1, 0.2]}
    exclude: [{training.steps: 1, optimizer.learning_rate: 0.2}]
    seeds: [0, 5]
    """
    grid = load_grid(write(folder / "product.yaml", text), ["optimizer.warmup=3"])
    found = [(a.config.training.steps, a.config.optimizer.learning_rate, a.seed) for a in grid.arms]
    assert found == [(1, 0.1, 0), (1, 0.1, 5), (2, 0.1, 0), (2, 0.1, 5), (2, 0.2, 0), (2, 0.2, 5)]
    assert {arm.config.optimizer.warmup for arm in grid.arms} == {3}
    assert str(grid.arms[-1].folder) == f"{GOOD}--training.steps=2--optimizer.learning_rate=0.2/seed5"


def test_the_seeds_and_the_name_of_a_grid_may_be_told_beside_its_settings(folder: Path) -> None:
    path = write(folder / "seeded.yaml", "base: tiny\narms: [{recipe: g3}]\nseeds: [7]\n")
    grid = load_grid(path, ["training.steps=2", "seeds=[0, 1, 2]", "name=other"])
    assert [(arm.config.training.steps, arm.seed, arm.config.seed) for arm in grid.arms] == [
        (2, 0, 0), (2, 1, 1), (2, 2, 2),
    ]  # fmt: skip
    assert grid.name == "other"
    assert [arm.seed for arm in load_grid(path).arms] == [7]
    for wrong, message in (("seeds=3", "seeds: got 3"), ("seed=3", "seed: got 3")):
        with pytest.raises(ValueError, match=f"command line: {message}, expected"):
            load_grid(path, [wrong])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axis: {order: [vanilla]}", r"'axis'.*\baxes\b"),
        ("axes: {order: vanilla}", r"axes\.order: got 'vanilla', expected .*\blist\b"),
        ("axes: {ordr: [vanilla]}", r"'ordr'.*\border\b"),
        ("arms: [{recipe: g3}, {order: none, section: 3}]", r"\barm g3 .*\bseed 0 .*\btwice"),
        ("- 1", r"wrong\.yaml: .*expected .*\bmapping\b"),
        ("axes: {order: [", r"wrong\.yaml: .*YAML: line \d"),
        ("seeds: [a]", r"wrong\.yaml: seeds: got \['a'\], expected"),
        ("seeds: [1.5]", r"wrong\.yaml: seeds: got \[1.5\], expected"),
        ("common: {seed: 3}", r"wrong\.yaml: common: seed: got 3, .* seeds="),
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused(folder: Path, text: str, message: str) -> None:
    base = "" if text.startswith("- ") else "base: tiny\n"
    with pytest.raises(ValueError, match=message):
        load_grid(write(folder / "wrong.yaml", base + text))


@pytest.fixture(scope="module")
def interrupted_then_run(folder: Path) -> Path:
    """A grid stopped by Ctrl-C in its second arm, then run again: its runs folder."""
    runs = folder / "runs"
    grid = load_grid(write(folder / "failing.yaml", FAILING))
    calls = []

    def stop_at_second(*given: object) -> None:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(*given)  # type: ignore[arg-type]

    original = run_module.sample
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "sample", stop_at_second)
        with pytest.raises(KeyboardInterrupt):
            run_grid(grid, runs, QUIET, command="test")
    states = {name: run.info.status for name, run in tracked(runs).items()}
    assert states == {"failing": "KILLED", f"{GOOD} seed 0": "FINISHED", f"{INVERTED} seed 0": "KILLED"}
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("train.done.json")}
    assert len(before) == 2

    result = run_grid(grid, runs, QUIET, command="test", efficiency=True)
    assert list(result.failed) == [f"{BAD} seed 0"]
    assert {p: p.stat().st_mtime_ns for p in before} == before, "a finished training was done again"
    return runs


def test_an_arm_that_fails_is_recorded_and_the_others_go_on(interrupted_then_run: Path) -> None:
    folder = interrupted_then_run / "failing"
    bad = RunFolder(folder / BAD / "seed0")
    assert "fill: got 'bisect'" in bad.error.read_text()
    for name in (GOOD, INVERTED):
        place = RunFolder(folder / name / "seed0")
        assert place.summary.is_file()
        assert not place.error.exists()
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Batch and time efficiency" in page
    assert "--efficiency" not in page, "it was measured"


def test_an_arm_that_failed_is_tried_again_only_when_asked(
    folder: Path, interrupted_then_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, place = (
        load_grid(folder / "failing.yaml"),
        RunFolder(interrupted_then_run / "failing" / BAD / "seed0"),
    )
    before = place.error.stat().st_mtime_ns
    skipped = run_grid(grid, interrupted_then_run, QUIET, command="test")
    assert list(skipped.failed) == [f"{BAD} seed 0"]
    assert "only the endpoint order" in skipped.failed[f"{BAD} seed 0"]
    assert place.error.stat().st_mtime_ns == before, "it was tried again"
    again = run_grid(grid, interrupted_then_run, QUIET, command="test", retry_failed=True)
    assert list(again.failed) == [f"{BAD} seed 0"]
    assert place.error.stat().st_mtime_ns > before


def test_mlflow_has_a_parent_and_a_child_per_arm(interrupted_then_run: Path) -> None:
    runs = tracked(interrupted_then_run)
    parent = runs["failing"]
    assert {name: run.info.status for name, run in runs.items()} == {
        "failing": "FAILED",
        f"{GOOD} seed 0": "FINISHED",
        f"{INVERTED} seed 0": "FINISHED",
        f"{BAD} seed 0": "FAILED",
    }
    client = MlflowClient(f"sqlite:///{interrupted_then_run / 'mlflow.db'}")
    for name in (GOOD, INVERTED):
        child = runs[f"{name} seed 0"]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.params["recipe"] == name
        assert child.data.params["training.steps"] == "4"
        history = client.get_metric_history(child.info.run_id, "train/loss")
        assert sorted(entry.step for entry in history) == [1, 2, 3, 4]
        assert {
            "recorded/step_seconds",
            "recorded/tokens_per_second",
            "recorded/machine_load",
            "efficiency/largest_batch",
            "efficiency/time_to_full_sequence",
        } <= set(child.data.metrics)
        assert any(metric.endswith(".drift") for metric in child.data.metrics)
        stored = {item.path for item in client.list_artifacts(child.info.run_id, "samples")}
        assert stored == {"samples/own-00.mp4", "samples/true-00.mp4"}


def test_two_arms_on_real_video_are_run_once(folder: Path) -> None:
    clips, runs = folder / "clips", folder / "clip-runs"
    clips.mkdir()
    bikes, phone = (shutil.copy(real_clip(name), clips) for name in ("bikes.mp4", "carphone_pristine.mp4"))
    text = f"{GRID}name: clips\n".replace(
        "section: 3",
        f"section: 3, data: {{kind: clips, clips: {{folder: {clips}, size: 32, frames: 10}}}}",
    )
    grid = load_grid(write(folder / "clips.yaml", text))
    result = run_grid(grid, runs, QUIET, command="test")
    assert result.failed == {}
    summary = json.loads((result.folder / GOOD / "seed0" / "scores" / "summary.json").read_text())
    assert summary["videos"] == 2
    truth = load_file(result.folder / "truth" / "samples" / "raw.safetensors")["frames"].float()
    assert truth.flatten(1).std(1).min() > 10, "windows of real video are not flat"

    jobs = grid_jobs(grid, runs)
    costs = estimate(jobs)
    assert [cost.total for cost in costs] == [0, 0]
    assert "Nothing is left to do" in _text(plan_table(grid, jobs, costs))
    assert not [job for job in jobs if not job.is_whole]
    shutil.copy(bikes, phone)
    assert [job.pending for job in grid_jobs(grid, runs)] == [["train", "sample", "score"]] * 2


def _text(table: object) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
