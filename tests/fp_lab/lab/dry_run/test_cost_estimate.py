"""What a grid is said to cost, before it is run."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fixtures import tiny_config, tiny_experiment
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.dry_run import cost_estimate, remembered_timings, timings
from fp_lab.lab.dry_run.cost_estimate import estimate
from fp_lab.lab.dry_run.plan_table import Options, duration, plan_notes, plan_table
from fp_lab.lab.dry_run.remembered_timings import REMEMBERED
from fp_lab.lab.dry_run.timings import product_rate, timed_step
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import grid_jobs
from fp_lab.lab.planning.arm_flops import sampling_flops
from fp_lab.lab.planning.flops import shape_of, training_tflop
from fp_lab.lab.tiny_pipelines import build_tiny

GRID = """\
base: tiny
arms:
  - {recipe: td_f2k2f1k1_g3}
  - {recipe: td_f2k2f1k1_g3, training.steps: 8}
  - {recipe: td_f2k2f1k1_g3, training.batch: 4}
  - {recipe: td_f2k2f1k1_g3, sampling.guidance: 2.0}
  - {recipe: g3}
  - {recipe: td_f2k2f1k1_g3+D4}
"""


def test_costs_are_in_proportion_to_what_arms_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_experiment(tmp_path)
    (tmp_path / "grid.yaml").write_text(GRID)
    grid = load_grid(tmp_path / "grid.yaml")
    jobs = grid_jobs(grid, tmp_path / "runs")
    monkeypatch.setattr(timings, "timed_step", lambda *given: 0.5)
    monkeypatch.setattr(timings, "seconds_per_frame", lambda *given: 0.1)
    plain, longer, wider, guided, control, _ = estimate(jobs)
    assert plain.train == pytest.approx(4 * 0.5)
    assert longer.train == pytest.approx(2 * plain.train)
    assert wider.train == pytest.approx(2 * plain.train)
    # 3 sections of 9 frames from two histories, 2 steps each; a forward pass is a third of a training step
    assert plain.sample == pytest.approx(2 * 3 * 2 * 0.5 / 3)
    assert wider.sample == pytest.approx(plain.sample), "as many videos"
    assert guided.sample == pytest.approx(2 * plain.sample)
    assert guided.train == 0, "the first arm trains the same model"
    assert control.train < plain.train
    assert plain.score == pytest.approx(2 * 10 * 2 * 0.1)

    place = RunFolder(jobs[0].folder)
    with place.doing("train", jobs[0].keys.train):
        pass
    partly = estimate(jobs)[0]
    assert (partly.train, partly.sample > 0) == (0, True)
    RunFolder(jobs[1].folder).record_failure(jobs[1].key, "reason", "trace")
    console = Console(width=200)
    with console.capture() as captured:
        console.print(plan_table(grid, jobs, estimate(jobs), workers=2))
    costs = estimate(jobs)
    total = sum(cost.total for cost in costs)
    left = total - costs[1].total
    assert f"About {duration(left / 2)} in all" in captured.get(), "what has failed is not tried again"
    assert "done" in captured.get()
    (note,) = plan_notes(jobs, Options())
    assert jobs[1].label in note
    assert "--retry-failed" in note
    with console.capture() as captured:
        console.print(plan_table(grid, jobs, costs, workers=2, retry_failed=True))
    assert f"About {duration(total / 2)} in all" in captured.get()
    assert "failed" not in captured.get()
    place.model.mkdir(parents=True)
    redone, retried, measured = plan_notes(jobs, Options(redo=True, retry_failed=True, efficiency=True))
    assert (jobs[0].label in redone, jobs[1].label in redone) == (True, False)
    assert jobs[1].label in retried
    assert f"{len(jobs)} runs" in measured


def test_arms_over_a_transformer_are_counted_and_nothing_of_them_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_experiment(tmp_path)
    build_tiny("wan", tmp_path / "wan")
    shapes = "data.world.frames: 25, evaluation.frames: 7"
    common = f"{{{shapes}, objective.flow.output: velocity, model.lora.rank: 2}}"
    source = f"model.base: {tmp_path}/wan, codec.source: {tmp_path}/wan"
    (tmp_path / "grid.yaml").write_text(
        f"base: tiny\ncommon: {common}\narms:\n"
        f"  - {{recipe: td_f2k2f1k1_g3, {source}}}\n"
        f"  - {{recipe: td_f2k2f1k1_g3, {source}, sampling.guidance: 2.0}}\n"
        "  - {recipe: td_f2k2f1k1_g3, objective.flow.output: clean}\n"
    )
    grid = load_grid(tmp_path / "grid.yaml")
    jobs = grid_jobs(grid, tmp_path / "runs")
    for weights in (tmp_path / "wan").rglob("*.safetensors"):
        weights.unlink()
    monkeypatch.setattr(timings, "timed_step", lambda *given: 0.5)
    monkeypatch.setattr(timings, "product_rate", lambda config: 1e9)
    monkeypatch.setattr(timings, "seconds_per_frame", lambda *given: 0.1)
    counted, guided, own = estimate(jobs)
    config, rate = jobs[0].config, cost_estimate.SHARE * 1e9
    assert counted.train == pytest.approx(training_tflop(config) * 1e12 / rate)
    shape = shape_of(config, 7)
    assert counted.sample == pytest.approx(2 * 2 * sampling_flops(config, shape, 2) / rate)
    assert guided.sample == pytest.approx(2 * 2 * sampling_flops(config, shape, 4) / rate)
    assert counted.score == pytest.approx(2 * 25 * 2 * 0.1), "pixel frames"
    assert own.train == pytest.approx(4 * 0.5)
    cached = [replace(job, config=with_cache(job.config), trained=()) for job in jobs[:2]]
    unknown = estimate(cached)
    assert math.isnan(unknown[0].train)
    assert unknown[0].sample == counted.sample
    console = Console(width=200)
    with console.capture() as captured:
        console.print(plan_table(grid, [*cached, jobs[2]], [*unknown, own]))
    text = captured.get()
    assert f"About {duration(own.total)} in all: one training step" in text
    assert "at 40% of the rate of a large matrix product" in text
    assert "?, in 2 runs" in text


def with_cache(config: ExperimentConfig) -> ExperimentConfig:
    return replace(config, data=replace(config.data, cache="folder"))


def test_a_large_product_has_a_rate(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert product_rate(config) > 1e8


def test_a_step_is_timed_without_data_and_without_a_codebook(tmp_path: Path) -> None:
    tiny_experiment(tmp_path)
    (tmp_path / "grid.yaml").write_text(GRID)
    jobs = grid_jobs(load_grid(tmp_path / "grid.yaml"), tmp_path / "runs")
    assert timed_step(jobs[-1].config) > 0


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"KEY": NaN}', '{"KEY": -1}', '{"KEY": "0.2"}', "[" * 10**5]
)
def test_a_timing_is_taken_once_per_machine_and_a_damaged_one_anew(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(timings, "timed_step", lambda config: taken.append(config.training.batch) or 0.5)
    monkeypatch.setattr(timings, "seconds_per_frame", lambda *given: 0.1)
    tiny_experiment(tmp_path)
    (tmp_path / "grid.yaml").write_text(GRID)
    jobs = grid_jobs(load_grid(tmp_path / "grid.yaml"), tmp_path / "runs")
    first = estimate(jobs[:2])
    assert estimate(jobs[:2]) == first
    assert taken == [2]
    estimate(jobs[2:3])
    assert taken == [2, 4], "another batch is another step"
    file = tmp_path / "cache" / REMEMBERED
    (key,) = [key for key, seconds in json.loads(file.read_text()).items() if seconds == 0.5][:1]
    file.write_text(content.replace("KEY", key))
    assert estimate(jobs[:2]) == first
    assert taken == [2, 4, 2]
    monkeypatch.setattr(remembered_timings, "environment", lambda: {"processor": "another"})
    estimate(jobs[:2])
    assert taken == [2, 4, 2, 2]


def test_a_cache_that_cannot_be_written_to_costs_the_memory_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert remembered_timings.remembered("step", {}, lambda: 2.0) == 2.0


def test_what_a_busy_machine_took_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert remembered_timings.remembered("step", {}, lambda: 9.0) == 9.0
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert [remembered_timings.remembered("step", {}, lambda own=own: own) for own in (2.0, 3.0)] == [
        2.0,
        2.0,
    ]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of its own, on a machine that has nothing else to do."""
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "7 s"), (119, "119 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
