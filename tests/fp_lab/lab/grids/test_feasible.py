"""What cannot be done is refused before anything is trained."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from rich.console import Console

from fixtures import tiny_config
from fp_data.clips import ClipsConfig, scan, write_mp4
from fp_data.worlds import WorldConfig, render
from fp_lab.lab.dry_run import cost_estimate
from fp_lab.lab.dry_run.plan_table import Options, plan_notes
from fp_lab.lab.grids.cautions import cautions
from fp_lab.lab.grids.engines import InProcess
from fp_lab.lab.grids.engines.local import Local, workers_that_fit
from fp_lab.lab.grids.feasible import check_feasible
from fp_lab.lab.grids.grid import Arm, Grid
from fp_lab.lab.grids.run_grid import grid_jobs, run_grid
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runtime.device import require_devices
from fp_lab.lab.runtime.reporter import Reporter

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos of 12 frames and one of 20; a quarter at their end is held out."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(6):
        frames = 20 if number == 5 else 12
        write_mp4(folder / f"{number}.mp4", render(WorldConfig(16, frames), [number]).frames[0].numpy(), 8)
    return folder


def arm_of(folder: Path, *settings: str) -> Arm:
    return Arm("arm", 0, tiny_config(folder, list(settings)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["data.clips.frames=16"],
            r"data\.clips\.frames: got 16\b.*: has 15 frames",
        ),
        (["evaluation.frames=6"], r"evaluation\.frames: got 6\b.*: has 5 frames"),
    ],
)
def test_windows_that_no_clip_is_long_enough_for_are_refused_without_a_warning(
    tmp_path: Path, clips: Path, settings: list[str], message: str
) -> None:
    own = ["data.kind=clips", f"data.clips.folder={clips}", "data.clips.size=16"]
    fitting = ["data.clips.frames=15", "evaluation.frames=5"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_feasible([arm_of(tmp_path, *own, *fitting)])
        with pytest.raises(ValueError, match=rf"(?s)^{message}"):
            check_feasible([arm_of(tmp_path, *own, *fitting, *settings)])


@pytest.mark.parametrize(
    ("folder", "fault"), [("nope", "got folder='.*nope', expected"), (".", r".*\busable\b")]
)
def test_a_folder_without_clips_is_the_fault_of_the_folder(tmp_path: Path, folder: str, fault: str) -> None:
    own = ["data.kind=clips", f"data.clips.folder={tmp_path / folder}", "data.clips.size=16"]
    arm = arm_of(tmp_path / "experiment", *own)
    with pytest.raises(ValueError, match=rf"^data\.clips\.folder: {fault}"):
        check_feasible([arm])


def test_clips_that_are_passed_over_are_told_in_one_warning(clips: Path) -> None:
    with pytest.warns(UserWarning, match=r"skipped 5 of 6 videos in .*0\.mp4: has 9 .*; and 2 more$") as told:
        found = scan(ClipsConfig(str(clips), size=16, frames=15))
    assert len(told) == 1
    assert [len(found.usable), len(found.skipped)] == [1, 5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.train_videos=1000000000"],
         r"^arm: data\.train_videos: got 10+, .*\blatents\b.* \d+ GiB"),
        (["evaluation.videos=9000", "evaluation.frames=90000"],
         r"evaluation\.videos: got 9000, .*\bframes\b.* GiB"),
        (["data.world.variant=curtain", "evaluation.families=[world]"],
         r"evaluation\.families: .*\bworld: "),
        (["track.every=1", "track.best=world/nonsense"], r"track\.best: got .world/nonsense., expected"),
    ],
)  # fmt: skip
def test_arms_that_nothing_can_come_of_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: list[str], message: str
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 64 * 2**30}))
    check_feasible([arm_of(tmp_path)])
    with pytest.raises(ValueError, match=message):
        check_feasible([arm_of(tmp_path, *settings)])


def test_frames_of_levels_count_whatever_the_length_of_the_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a training asked for 1,023,998,976 bytes to embed the first 999,999 frames of two videos."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 1_023_998_975}))
    parts = ["compression=f1k1", "order=vanilla"]
    check_feasible([arm_of(tmp_path, *parts, "sink=10000")])
    with pytest.raises(ValueError, match=r"^arm: recipe: got f999999k1_x_f1k1_g9, .*\bcontext\b"):
        check_feasible([arm_of(tmp_path, *parts, "sink=999999")])


def test_a_family_that_is_left_out_is_told_before_anything_is_done(tmp_path: Path) -> None:
    arm = arm_of(tmp_path, "data.world.variant=curtain", "evaluation.families=[plain, world]")
    said = [line for line in cautions([arm]) if line.startswith("evaluation.families")]
    assert said == [
        "evaluation.families: world is left out: it follows one moving object, and videos of curtain show "
        "other things (arm)"
    ]


class OfThisMachine(InProcess):
    def submit(self, job: Job, reporter: Reporter) -> None:
        raise AssertionError("begun")


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    arm = arm_of(tmp_path, "training.accelerator=gpu")
    grid = Grid("mine", (arm_of(tmp_path), replace(arm, name="second", place="second")), ())
    for engine in (OfThisMachine(tmp_path / "cache"), Local(2, tmp_path / "cache")):
        with pytest.raises(ValueError, match=r"^second: training\.accelerator: got gpu, but torch sees none"):
            run_grid(grid, tmp_path / "runs", QUIET, command="fp-lab grid mine", engine=engine)
        assert not list((tmp_path / "runs").rglob("*.done.json"))
        assert workers_that_fit([arm.config]) == 1


def test_a_plan_without_the_gpu_says_so_and_knows_no_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login node of a cluster has none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(cost_estimate, "_seconds_per_frame", lambda config: 0.1)
    arm = arm_of(tmp_path, "training.accelerator=gpu")
    check_feasible([arm])
    jobs = grid_jobs(Grid("mine", (arm,), ()), tmp_path / "runs")
    (cost,) = cost_estimate.estimate(jobs)
    assert math.isnan(cost.train)
    assert math.isnan(cost.sample)
    (note,) = plan_notes(jobs, Options())
    assert note.startswith("training.accelerator: got gpu, but torch sees none on this machine: arm seed 0;")


def test_more_gpus_than_there_are_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    arm = arm_of(tmp_path, "training.accelerator=gpu")
    training = replace(arm.config.training, devices=2)
    with pytest.raises(ValueError, match=r"training\.devices: got 2, but torch sees 1 GPU"):
        require_devices(replace(arm.config, training=training))
    require_devices(replace(arm.config, training=replace(training, devices=1)))
