"""Files that are there whole or not at all, on the disk before they have their name, as the umask says."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fp_data.atomic import replacing, replacing_files, replacing_folder
from fp_data.write_mp4 import write_mp4

TENSORS = {"x": torch.zeros(3)}


@pytest.fixture(params=[0o022, 0o077, 0o002])
def wanted_mode(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield 0o666 & ~request.param
    os.umask(before)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is brought to the disk and what is renamed, in order."""
    seen: list[tuple[str, str]] = []
    sync, replace, rename = os.fsync, Path.replace, Path.rename

    def synced(place: int) -> None:
        seen.append(("sync", Path(f"/proc/self/fd/{place}").resolve().name))
        sync(place)

    def moved(kind: object, path: Path, target: Path) -> Path:
        seen.append(("move", path.name))
        return kind(path, target)  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda path, target: moved(replace, path, target))
    monkeypatch.setattr(Path, "rename", lambda path, target: moved(rename, path, target))
    return seen


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_modes_follow_the_umask_whoever_writes(tmp_path: Path, wanted_mode: int) -> None:
    with replacing(tmp_path / "one.safetensors") as unfinished:
        save_file(TENSORS, unfinished)
    with replacing_folder(tmp_path / "two") as unfinished:
        (unfinished / "part").mkdir(parents=True)
        save_file(TENSORS, unfinished / "part" / "two.safetensors")
    with replacing_files(tmp_path) as unfinished:
        unfinished.mkdir()
        save_file(TENSORS, unfinished / "three.safetensors")
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.safetensors"))
    assert written == ["one.safetensors", "three.safetensors", "two/part/two.safetensors"]
    assert {mode(tmp_path / name) for name in written} == {wanted_mode}


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    with replacing(tmp_path / "file") as unfinished:
        unfinished.write_text("text")
    name = unfinished.name
    assert events == [("sync", name), ("move", name), ("sync", tmp_path.name)]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_video_is_on_the_disk_before_it_has_its_name(tmp_path: Path, events: list[tuple[str, str]]) -> None:
    write_mp4(tmp_path / "video.mp4", np.zeros((2, 16, 16, 3), np.uint8), 8)
    assert [what for what, _ in events] == ["sync", "move", "sync"]
    assert events[0][1] == events[1][1]
    assert events[2][1] == tmp_path.name


def test_a_folder_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    with replacing_folder(tmp_path / "model") as unfinished:
        (unfinished / "part").mkdir(parents=True)
        (unfinished / "part" / "weights").write_text("text")
        (unfinished / "config").write_text("text")
    moved = events.index(("move", ".model"))
    assert {name for _, name in events[:moved]} == {".model", "part", "weights", "config"}
    assert events[moved + 1 :] == [("sync", tmp_path.name)]


def fail(unfinished: Path) -> None:
    if unfinished.is_file():
        unfinished.write_text("half")
    else:
        unfinished.mkdir()
        (unfinished / "file").write_text("half")
    raise RuntimeError("power is out")


@pytest.mark.parametrize(
    ("way", "name"), [(replacing, "file"), (replacing_folder, "folder"), (replacing_files, "")]
)
def test_what_fails_leaves_what_was_there(way: Callable[[Path], Any], name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("old")
    with pytest.raises(RuntimeError, match="power is out"), way(tmp_path / name) as unfinished:
        fail(unfinished)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert [path.read_text() for path in tmp_path.rglob("file")] == ["old", "old"]


def test_what_a_killed_process_has_left_is_overwritten(tmp_path: Path) -> None:
    left = tmp_path / ".last.ckpt.tmp"
    left.write_text("half of a checkpoint")
    left.chmod(0o600)
    with replacing(tmp_path / "last.ckpt", alone=True) as unfinished:
        assert unfinished.read_bytes() == b""
        unfinished.write_text("whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("last.ckpt", "whole")]
    (tmp_path / "usual").touch()
    assert mode(tmp_path / "last.ckpt") == mode(tmp_path / "usual")
