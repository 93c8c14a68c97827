"""Files and prompts as people have them: one that is strange never stops the others."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bad_videos
from fp_data.read_video import glance, write_mp4
from fp_lab.lab.evaluate.find_videos import find_videos
from fp_lab.lab.evaluate.prompt_files import match_prompts, read_prompts
from fp_lab.lab.evaluate.score_file import Measuring, score_file
from fp_lab.lab.evaluate.score_folders import FolderScores, score_folders
from fp_lab.lab.files.names import shown
from fp_lab.lab.report.scores_page import write_scores_page
from fp_metrics.vbench_json import read_vbench_json

QUICK = Measuring(("plain",), ("aesthetic",))


def score(folder: Path, measuring: Measuring = QUICK, **options: Path) -> FolderScores:
    return score_folders([folder], measuring=measuring, workers=1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.csv", b"\xef\xbb\xbffile,prompt\r\na.mp4,a dog\r\n", {"a.mp4": "a dog"}),
        ("p.csv", b'File, Prompt ,seed\na.mp4,"a cat, sits",3\n', {"a.mp4": "a cat, sits"}),
        ("p.csv", b'file,prompt\na.mp4,"a dog runs\nand rests"\n', {"a.mp4": "a dog runs and rests"}),
        ("p.json", b'\xef\xbb\xbf{"a.mp4": "a dog"}', {"a.mp4": "a dog"}),
        ("p.txt", b"\xef\xbb\xbfa.mp4\ta  dog\r\n", {"a.mp4": "a dog"}),
    ],
)
def test_prompts_are_read_as_programs_write_them(
    tmp_path: Path, name: str, content: bytes, expected: dict[str, str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_prompts(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", b"file,prompt\na.mp4,a dog, slowly\n", r"line 2 .*\bmore .*\b2\b"),
        ("p.csv", b"file,prompt\na.mp4\nb.mp4,a cat\n", r"line 2 .*\bfewer .*\b2\b"),
        ("p.csv", b'file,prompt\na.mp4,"a dog\nb.mp4,a cat\n', r"line \d .*\bCSV\b"),
        ("p.csv", b"file,prompt\na.mp4,one\na.mp4,two\n", "names a.mp4 twice"),
        ("p.csv", b"", r"columns .*, expected .*\bprompt"),
        ("p.csv", b"file,prompt\na.mp4," + b"x" * 200_000, r"\bCSV\b.*131072"),
        ("p.csv", "file,prompt\na.mp4,dög\n".encode("utf-16"), r"p\.csv: .*utf-8"),
        ("p.json", b'{"a.mp4": "one", "a.mp4": "two"}', "names a.mp4 twice"),
        ("p.json", b'{"a.mp4": "\\ud83d"}', r"'a\.mp4' .*\bhalf\b"),
        ("p.json", b"[" * 100_000, r"p\.json: .*\bJSON\b"),
    ],
)
def test_prompts_that_would_be_misread_are_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_prompts(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["videos\\a.mp4", "C:\\data\\videos\\a.mp4", "/data/videos/a.mp4", "./a.mp4", "a", "V/a.mp4"]
)
def test_a_name_is_found_wherever_the_videos_lay(name: str) -> None:
    videos = {Path("V/a.mp4"): "a.mp4", Path("V/b.mp4"): "b.mp4"}
    assert match_prompts([name], videos) == {Path("V/a.mp4"): name}


def test_of_several_names_the_one_that_shares_most_of_the_path_counts() -> None:
    videos = {Path("m/x/0.mp4"): "x/0.mp4", Path("m/y/0.mp4"): "y/0.mp4"}
    x, y = videos
    assert match_prompts(["y\\0.mp4", "x\\0.mp4"], videos) == {x: "x\\0.mp4", y: "y\\0.mp4"}
    assert match_prompts(["x/0.mp4"], videos) == {x: "x/0.mp4"}
    assert match_prompts(["0.mp4"], videos) == {x: "0.mp4", y: "0.mp4"}
    assert match_prompts(["p/0.mp4", "q/0.mp4"], videos) == {}, "which one nobody knows"
    assert match_prompts(["a\\b.mp4"], {Path("V/a\\b.mp4"): "a\\b.mp4"}) != {}, "a name with a backslash"


@pytest.mark.parametrize("forms", [("cafe\u0301.mp4", "caf\u00e9.mp4"), ("caf\u00e9.mp4", "cafe\u0301.mp4")])
def test_composed_and_decomposed_names_are_one(forms: tuple[str, str]) -> None:
    there, told = forms
    assert match_prompts([told], {Path(there): there}) == {Path(there): told}
    assert shown(there) == shown(told)


def test_names_without_a_video_and_videos_without_a_prompt_are_told(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.mp4").touch()
    (tmp_path / "p.csv").write_text("file,prompt\na.mp4,one\nb.mp4,\nelse.mp4,two\n")
    found = find_videos([tmp_path], tmp_path / "p.csv")
    unused, silent = found.told
    assert unused.endswith(": else.mp4")
    assert silent.endswith(" b.mp4, c.mp4")


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.txt"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for read in (read_prompts, read_vbench_json):
        with pytest.raises(ValueError, match=rf"/{name}\b.* file$"):
            read(tmp_path / name)


def test_strange_files_are_named_and_the_others_scored(tmp_path: Path) -> None:
    good = bad_videos.write(tmp_path / "good.mkv", bad_videos.moving(3))
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 [b]\n.mkv"))
    strange.write_bytes(good.read_bytes())
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "sparse.mp4").touch()
    os.truncate(tmp_path / "sparse.mp4", 1 << 40)
    (tmp_path / "worded.mkv").write_bytes(good.read_bytes())
    (tmp_path / "worded.txt").write_bytes(b"un caf\xe9")
    scores = score(tmp_path)
    assert set(scores.results.files) == {"good.mkv", r"caf\xe9 [b]\n.mkv"}
    said = {
        "pipe.mp4": "is a pipe",
        "loop.mp4": "cannot be read",
        "zero.mp4": "is a device",
        "sparse.mp4": "is nearly empty",
        "worded.mkv": "not UTF-8",
    }
    assert scores.skipped.keys() == said.keys()
    assert all(why in scores.skipped[name] for name, why in said.items())
    assert r"caf\xe9" in write_scores_page(scores, f"fp-lab evaluate {strange}").read_text()
    assert score(tmp_path).results.summary.items() <= scores.results.summary.items()


def test_a_folder_and_a_file_without_permission_are_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shut").mkdir()
    for name in ("mine.mkv", "theirs.mkv"):
        bad_videos.write(tmp_path / name, bad_videos.moving(3))
    scandir = os.scandir

    def refusing(place: Path) -> object:
        if place.name == "shut":
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.setattr(os, "access", lambda path, mode: "theirs" not in str(path))
    scores = score(tmp_path)
    assert list(scores.results.files) == ["mine.mkv"]
    assert "Permission denied" in scores.skipped["theirs.mkv"]
    assert "Permission denied" in scores.skipped["shut"]


def test_frames_of_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    bad_videos.write(tmp_path / "small.mkv", bad_videos.moving(3))
    write_mp4(tmp_path / "vast.mp4", np.zeros((2, 128, 256, 3), np.uint8), 8)
    scores = score(tmp_path, Measuring(("plain",), ("aesthetic",), megapixels=0.02))
    assert list(scores.results.files) == ["small.mkv"]
    assert "256x128" in scores.skipped["vast.mp4"]
    assert "--megapixels allows more" in scores.skipped["vast.mp4"]
    assert Measuring(("plain",), megapixels=1).key == Measuring(("plain",)).key
    assert score(tmp_path).skipped == {}


def test_a_file_that_promises_more_frames_is_counted_within_the_limit_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.mp4"
    write_mp4(path, np.zeros((6, 128, 256, 3), np.uint8), 8)
    monkeypatch.setattr("fp_data.open_video.MEGAPIXELS", 0.02)
    monkeypatch.setattr("fp_lab.lab.evaluate.score_file.glance", lambda path: replace(glance(path), frames=9))
    (file,) = find_videos([path]).files
    larger = Measuring(("plain",), ("aesthetic",), megapixels=1.0)
    scores = score_file(file, larger, tmp_path, lambda _: None)
    assert (scores.failure, scores.facts["frames"]) == ("", 6)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("[enforce fail] not enough memory")])
def test_whatever_fails_for_one_file_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: object) -> object:
        raise error

    path = bad_videos.write(tmp_path / "v.mkv", bad_videos.moving(2))
    monkeypatch.setattr("fp_lab.lab.evaluate.score_file._measure", failing)
    (file,) = find_videos([path]).files
    assert "memory" in score_file(file, QUICK, tmp_path / "kept", lambda _: None).failure
