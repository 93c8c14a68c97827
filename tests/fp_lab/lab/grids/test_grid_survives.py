"""Grids that are killed, or started twice at once, end as if nothing had happened."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from rich.console import Console

from fp_lab.lab.grids.engines import make_engine
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import run_grid

GRID = """\
name: killed
base: tiny
common: {section: 3, training.steps: 12, training.checkpoint_every: 1}
axes: {compression: [f2k2f1k1], order: [vanilla, inverted]}
seeds: [0, 1]
"""
ARMS = 4


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    path = folder / "killed.yaml"
    path.write_text(GRID)
    return path


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["test_grid_survives", "mlflow"])
    return context


def run(file: Path, runs: Path, workers: int) -> None:
    engine = make_engine("local", workers, runs / "cache", {})
    result = run_grid(load_grid(file), runs, Console(quiet=True), command="test", engine=engine)
    assert result.failed == {}
    assert result.report is not None


def figures(runs: Path) -> dict[str, bytes]:
    folder = runs / "killed"
    files = [*folder.rglob("*.safetensors"), *folder.rglob("summary.json"), *folder.rglob("videos.parquet")]
    files += folder.rglob("frames.parquet")
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    assert len(found) == 6 * ARMS + 5, sorted(found)
    return found


@pytest.fixture(scope="module")
def undisturbed(file: Path) -> dict[str, bytes]:
    run(file, file.parent / "undisturbed", 1)
    return figures(file.parent / "undisturbed")


def check(runs: Path) -> None:
    """Every arm is there once, nothing runs any more, nothing half-written is left."""
    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'fp_lab'")
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == ARMS + 1
    assert len({run.info.run_name for run in found}) == ARMS + 1
    assert {run.info.status for run in found} == {"FINISHED"}
    for run in found:
        if "mlflow.parentRunId" in run.data.tags:
            history = client.get_metric_history(run.info.run_id, "train/loss")
            assert sorted(entry.step for entry in history) == list(range(1, 13))
    hidden = [path for path in (runs / "killed").rglob(".*") if not path.name.endswith(".lock")]
    assert not hidden, "half-written"


def kill(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_grid_that_is_killed_five_times_ends_with_the_same_bits(
    file: Path, processes: ForkServerContext, undisturbed: dict[str, bytes], workers: int
) -> None:
    runs, moments = file.parent / f"killed-{workers}", random.Random(workers)
    for _ in range(5):
        process = processes.Process(target=run, args=(file, runs, workers))
        process.start()
        process.join(moments.uniform(0.5, 4))
        kill(process)
    run(file, runs, workers)
    assert figures(runs) == undisturbed
    check(runs)
    until = time.monotonic() + 30
    while (left := _at_work(runs)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not left, "workers have outlived their grid"


def _at_work(runs: Path) -> list[psutil.Process]:
    """Processes that have files open below a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(runs in Path(f.path).parents for f in process.open_files()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_two_grids_at_once_on_one_folder_lose_and_double_nothing(
    file: Path, processes: ForkServerContext, undisturbed: dict[str, bytes]
) -> None:
    runs = file.parent / "twice"
    both = [processes.Process(target=run, args=(file, runs, 1)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert figures(runs) == undisturbed
    check(runs)
