"""What cannot be done is refused before anything is trained."""

import warnings
from pathlib import Path

import psutil
import pytest

from fixtures import tiny_config
from fp_data.clips import ClipsConfig, scan, write_mp4
from fp_data.worlds import WorldConfig, render
from fp_lab.lab.grids.cautions import cautions
from fp_lab.lab.grids.feasible import check_feasible
from fp_lab.lab.grids.grid import Arm


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
            r"data\.clips\.frames: got 16 frames: no usable video in .*: has 15 frames",
        ),
        (["evaluation.frames=6"], r"evaluation\.frames: got 6 frames: no usable video in .*: has 5 frames"),
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
    ("folder", "fault"), [("nope", "got folder='.*nope', expected"), (".", "no usable video")]
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
         r"^arm: data\.train_videos: got 10+, whose latents take \d+ GiB"),
        (["evaluation.videos=9000", "evaluation.frames=90000"],
         r"evaluation\.videos: got 9000, whose frames take"),
        (["data.world.variant=curtain", "evaluation.families=[world]"],
         r"evaluation\.families: none applies: world: it follows one moving object"),
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
    with pytest.raises(ValueError, match=r"^arm: recipe: got f999999k1_x_f1k1_g9, the context of a batch"):
        check_feasible([arm_of(tmp_path, *parts, "sink=999999")])


def test_a_family_that_is_left_out_is_told_before_anything_is_done(tmp_path: Path) -> None:
    arm = arm_of(tmp_path, "data.world.variant=curtain", "evaluation.families=[plain, world]")
    said = [line for line in cautions([arm]) if line.startswith("evaluation.families")]
    assert said == [
        "evaluation.families: world is left out: it follows one moving object, and videos of curtain show "
        "other things (arm)"
    ]
