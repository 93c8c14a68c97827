"""Files are known by their content, and read once for as long as they stay as they are."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fixtures import tiny_config
from fp_data.clips import ClipsConfig, write_mp4
from fp_lab.lab.config import DataConfig
from fp_lab.lab.files import digests
from fp_lab.lab.files.digests import digests_of
from fp_lab.lab.files.weights import weights_identity
from fp_lab.lab.materials.videos import evaluation_videos
from fp_lab.lab.provenance.data_identity import clip_digests, data_identity

A = hashlib.sha256(b"aaaa").hexdigest()
B = hashlib.sha256(b"bbbb").hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "_YOUNG", 0)  # a test does not wait until its files are old
    return tmp_path / "cache" / digests.REMEMBERED


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    original = digests._sha256

    def counted(file: Path) -> str:
        names.append(file.name)
        return original(file)

    monkeypatch.setattr(digests, "_sha256", counted)
    return names


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"aaaa")
    (folder / "b.mp4").write_bytes(b"bbbb")
    (folder / "b.txt").write_text("a ball\n")
    return folder


def identity(folder: Path) -> str:
    clips = ClipsConfig(folder=str(folder))
    return str(data_identity(DataConfig(kind="clips", clips=clips), clip_digests(clips)))


def replaced_quietly(file: Path, content: bytes) -> None:
    """Of the same size, with the same time of change and the same inode, as ``cp -p`` leaves it."""
    before = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_ino) == (before.st_size, before.st_ino)


def test_a_file_is_read_once(clips: Path, read: list[str]) -> None:
    files = sorted(clips.glob("*.mp4"))
    assert list(digests_of(files).values()) == [A, B]
    assert list(digests_of(files).values()) == [A, B]
    assert read == ["a.mp4", "b.mp4"]
    replaced_quietly(files[0], b"bbbb")
    assert list(digests_of(files).values()) == [B, B]
    assert read[2:] == ["a.mp4"]


def test_what_changed_a_moment_ago_is_not_remembered(
    clips: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_YOUNG", 1e12)
    for _ in range(2):
        assert digests_of([clips / "a.mp4"]) == {clips / "a.mp4": A}
    assert read == ["a.mp4"] * 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"x": 3}', b"\xff"])
def test_a_damaged_memory_is_made_anew(clips: Path, cache: Path, content: bytes) -> None:
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert digests_of([clips / "a.mp4"]) == {clips / "a.mp4": A}


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: replaced_quietly(folder / "a.mp4", b"cccc"),
        lambda folder: (folder / "b.txt").write_text("a hall\n"),
        lambda folder: (folder / "a.txt").write_text("a ball\n"),
        lambda folder: (folder / "b.txt").unlink(),
        lambda folder: (folder / "c.mp4").write_bytes(b"cccc"),
        lambda folder: (folder / "b.mp4").rename(folder / "0.mp4"),
    ],
    ids=[
        "same size and time",
        "caption edited",
        "caption added",
        "caption gone",
        "clip added",
        "other order",
    ],
)
def test_other_clips_and_other_captions_are_other_data(clips: Path, change) -> None:  # type: ignore[no-untyped-def]
    before = identity(clips)
    change(clips)
    assert identity(clips) != before


def test_the_same_clips_elsewhere_are_the_same_data(clips: Path, tmp_path: Path) -> None:
    before = identity(clips)
    (clips / ".hidden.mp4").write_bytes(b"x")
    (clips / "notes.txt").write_text("beside no clip")
    assert identity(clips.rename(tmp_path / "moved")) == before
    found = clip_digests(ClipsConfig(folder=str(tmp_path / "moved")))
    assert found == {"a.mp4": A, "b.mp4": B, "b.txt": hashlib.sha256(b"a ball\n").hexdigest()}


def test_a_clip_whose_caption_cannot_be_read_is_no_part_of_the_data(clips: Path) -> None:
    before = identity(clips)
    (clips / "c.mp4").write_bytes(b"cccc")
    (clips / "c.txt").write_bytes(b"un caf\xe9\n")
    assert identity(clips) == before
    (clips / "b.txt").write_bytes(b"\xef\xbb\xbfa ball\n")
    assert identity(clips) == before, "nor is a byte order mark"


def test_weights_are_known_by_content_and_place(tmp_path: Path, clips: Path) -> None:
    files = sorted(clips.glob("*.mp4"))
    before = weights_identity(files, clips)
    moved = clips.rename(tmp_path / "moved")
    assert weights_identity(sorted(moved.glob("*.mp4")), moved) == before
    (moved / "b.mp4").rename(moved / "c.mp4")
    assert weights_identity(sorted(moved.glob("*.mp4")), moved) != before


def prompts(folder: Path, models: Path) -> tuple[str, ...]:
    clips = f"data={{kind: clips, clips: {{folder: {folder}, size: 32, frames: 10}}}}"
    return evaluation_videos(tiny_config(models, [clips])).prompts


def test_videos_without_captions_are_known_by_content_and_not_by_seed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("one", "other"):
        frames = list(random.integers(0, 256, (48, 40, 40, 3), dtype=np.uint8))
        (tmp_path / name).mkdir()
        write_mp4(tmp_path / name / "clip.mp4", frames, 8)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    one, other, copy = (prompts(tmp_path / name, tmp_path) for name in ("one", "other", "copy"))
    assert one == copy
    assert len({*one, *other}) == 4
    assert all(prompt.startswith("sha256:") for prompt in one + other)
    (tmp_path / "one" / "clip.txt").write_text("a clip")
    assert prompts(tmp_path / "one", tmp_path) == ("a clip", "a clip")


def test_what_is_no_file_and_what_is_a_hole_is_not_read(tmp_path: Path) -> None:
    """To read a pipe waits for a writer, a device has no end, and a sparse terabyte takes hours."""
    (tmp_path / "good.mp4").write_bytes(b"a video")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "sparse.mp4").touch()
    os.truncate(tmp_path / "sparse.mp4", 1 << 40)
    assert list(clip_digests(ClipsConfig(str(tmp_path)))) == ["good.mp4"]
