"""Scores of folders of videos: what is found, kept, refused, compared and shown."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import bad_videos
from fp_data.read_video import glance, write_mp4
from fp_lab.lab.evaluate import score_file
from fp_lab.lab.evaluate.against import compare_folders
from fp_lab.lab.evaluate.find_videos import find_videos
from fp_lab.lab.evaluate.prompt_files import read_prompts
from fp_lab.lab.evaluate.results import Results
from fp_lab.lab.evaluate.score_file import Measuring
from fp_lab.lab.evaluate.score_folders import FolderScores, score_folders
from fp_lab.lab.evaluate.tables import summary_table
from fp_lab.lab.report.scores_page import write_scores_page
from fp_lab.lab.runtime.reporter import Reporter

PLAIN = Measuring(("plain",))
QUICK = Measuring(("plain",), ("clarity", "aesthetic"))
SHARP = "plain/denoised-sharpness"


def score(*paths: Path, measuring: Measuring = QUICK, workers: int = 1, **options: object) -> FolderScores:
    return score_folders(paths, measuring=measuring, workers=workers, **options)  # type: ignore[arg-type]


def assert_same(one: Results, two: Results) -> None:
    assert one.summary.items() <= {**two.summary, "fingerprint": two.fingerprint}.items()
    pd.testing.assert_frame_equal(one.videos, two.videos)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("a.mp4", "deep/b.mp4")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_mp4(tmp_path / "in" / name, bad_videos.moving(20, seed=index), 8)
    (tmp_path / "in" / "a.txt").write_text("a ball")
    (tmp_path / "in" / "broken.mp4").write_bytes(b"no video at all")
    return tmp_path / "in"


def test_a_folder_is_scored_and_a_corrupt_file_named(folder: Path) -> None:
    scores = score(folder, measuring=PLAIN)
    assert list(scores.skipped) == ["broken.mp4"]
    assert [line.name for line in scores.tables[0].lines] == ["a.mp4", "deep/b.mp4", "mean"]
    table = pd.read_parquet(folder / "scores" / "videos.parquet")
    assert set(table["file"]) == {"a.mp4", "deep/b.mp4"}
    assert set(table.query("file == 'a.mp4'")["prompt"]) == {"a ball"}
    lines = pd.read_csv(folder / "scores" / "scores.csv").set_index("file")
    sharp = table[table["estimator"] == SHARP]
    assert lines.loc["mean", "score-plain.clarity"] == pytest.approx(sharp["value"].mean())
    assert lines.loc["mean d", "drift-plain.clarity"] == pytest.approx(sharp["drift"].mean())
    assert lines.loc["mean |d|", "drift-plain.clarity"] == pytest.approx(sharp["drift"].abs().mean())
    assert lines.loc["mean", "score-plain.anatomy.reason"].startswith("needs the true shape")


def test_a_file_whose_caption_is_not_utf_8_is_named_and_the_others_scored(folder: Path) -> None:
    assert list(score(folder).skipped) == ["broken.mp4"]
    (folder / "a.txt").write_bytes(b"un caf\xe9")
    scores = score(folder)
    assert list(scores.skipped) == ["a.mp4", "broken.mp4"]
    assert "a.txt: the caption is not UTF-8" in scores.skipped["a.mp4"]
    assert list(scores.results.files) == ["deep/b.mp4"]
    (folder / "a.txt").unlink()
    assert list(score(folder).skipped) == ["broken.mp4"]
    (folder / "a.txt").write_bytes(b"un caf\xe9")
    assert list(score(folder).skipped) == ["a.mp4", "broken.mp4"], "what was kept is of another caption"


def test_every_file_carries_the_fingerprint(folder: Path) -> None:
    scores = score(folder)
    written = json.loads((folder / "scores" / "summary.json").read_text())
    assert written["fingerprint"] == scores.results.fingerprint == QUICK.key
    for name in ("frames.parquet", "videos.parquet"):
        metadata = pq.read_schema(folder / "scores" / name).metadata
        assert QUICK.key in metadata[b"PANDAS_ATTRS"].decode()
    assert Measuring(("plain",), ("clarity",)).key != QUICK.key
    for path in (folder, folder / "scores", folder / "scores" / "summary.json"):
        assert_same(Results.load(path), scores.results)


def test_what_was_scored_is_not_scored_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = score(folder)
    measured: list[str] = []
    original = score_file._measure

    def counting(file: object, *rest: object) -> object:
        measured.append(file.name)  # type: ignore[attr-defined]
        return original(file, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(score_file, "_measure", counting)
    assert_same(score(folder).results, first.results)
    assert measured == ["broken.mp4"]  # what failed may have been put right
    write_mp4(folder / "a.mp4", bad_videos.moving(8, seed=5), 8)
    score(folder)
    assert measured[1:] == ["a.mp4", "broken.mp4"]
    (folder / "a.txt").write_text("another ball")
    score(folder)
    assert measured[3:] == ["a.mp4", "broken.mp4"]
    score(folder, measuring=Measuring(("plain",), ("clarity",)))
    assert set(measured[5:]) == {"a.mp4", "deep/b.mp4", "broken.mp4"}


def test_a_damaged_kept_file_is_measured_again(folder: Path) -> None:
    first = score(folder)
    for kept in (folder / "scores" / "videos").glob("*.json"):
        kept.write_text("{")
    assert_same(score(folder).results, first.results)


def test_figures_do_not_depend_on_the_workers(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, str]] = []

    class Listening(Reporter):
        def begin(self, stage: str, total: int) -> None:
            seen.append((total, stage))

        def advance(self, done: int, note: str = "") -> None:
            seen.append((done, note))

    one = score(folder, out=tmp_path / "one", measuring=PLAIN)
    two = score(folder, out=tmp_path / "two", measuring=PLAIN, workers=2, reporter=Listening())
    assert_same(one.results, two.results)
    assert seen[:2] == [(40, "frames"), (0, "0/3 videos")]
    assert seen[-1] == (40, "3/3 videos")


@pytest.mark.parametrize("name", ["zero.mp4", "text.mp4", "sound.mkv", "cut.mp4"])
def test_what_is_no_video_is_said_and_the_rest_scored(name: str, tmp_path: Path) -> None:
    bad_videos.write(tmp_path / "good.mkv", bad_videos.moving(4))
    path = tmp_path / name
    if name == "zero.mp4":
        path.touch()
    elif name == "text.mp4":
        path.write_text("hello")
    elif name == "sound.mkv":
        bad_videos.write_sound(path)
    else:
        write_mp4(path, bad_videos.moving(30), 8)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    scores = score(tmp_path)
    assert list(scores.results.files) == ["good.mkv"]
    assert list(scores.skipped) == [name]
    why = scores.skipped[name]
    assert "\n" not in why
    expected = {
        "zero.mp4": "Invalid data",
        "text.mp4": "Invalid data",
        "sound.mkv": "holds no video stream",
        "cut.mp4": "cut off|cannot be decoded|is damaged",
    }
    assert any(part in why for part in expected[name].split("|")), why
    assert name in write_scores_page(scores, "fp-lab evaluate").read_text()


def test_frames_that_change_their_size_are_said(tmp_path: Path) -> None:
    bad_videos.write(tmp_path / "good.mkv", bad_videos.moving(4))
    first, second = (
        bad_videos.write(tmp_path / name, bad_videos.moving(4, height, 64), codec="mpeg2video", fps=25)
        for name, height in (("first.mpg", 48), ("second.mpg", 64))
    )
    (tmp_path / "joined.mpg").write_bytes(first.read_bytes() + second.read_bytes())
    for path in (first, second):
        path.unlink()
    skipped = score(tmp_path).skipped
    assert " is 64x64, the ones before are 64x48" in skipped["joined.mpg"]


@pytest.mark.parametrize(("count", "motion"), [(1, False), (7, True)])
def test_short_videos_are_scored_where_they_can_be(count: int, motion: bool, tmp_path: Path) -> None:
    bad_videos.write(tmp_path / "short.mkv", bad_videos.moving(count))
    scores = score(tmp_path, measuring=PLAIN)
    found = scores.results.videos.set_index("estimator")
    assert math.isfinite(found["value"][SHARP])
    assert math.isfinite(found["value"]["plain/dis-middle-frame"]) == motion
    assert math.isnan(found["drift"]["plain/dis-middle-frame"])
    assert "needs at least 3 frame(s), got" in found["drift_reason"]["plain/dis-middle-frame"]


@pytest.mark.parametrize(
    ("family", "metrics"),
    [
        ("plain", ("semantic", "anatomy")),
        ("paper", ("motion", "semantic", "anatomy", "identity")),
        ("plain", ("motion",)),
    ],
)
def test_a_selection_without_any_defined_drift_is_written_with_its_reasons(
    family: str, metrics: tuple[str, ...], tmp_path: Path
) -> None:
    """Columns of nothing but undefined values hold numbers still, and each score has a line with why."""
    write_mp4(tmp_path / "short.mp4", bad_videos.moving(16), 8)  # segments of 2 frames: motion needs 3
    measuring = Measuring((family,), metrics)
    scores = score(tmp_path, measuring=measuring)
    for table in (
        pd.read_parquet(scores.out / "videos.parquet"),
        pd.read_parquet(scores.out / "frames.parquet"),
    ):
        assert table["value"].dtype == np.float64
    videos = pd.read_parquet(scores.out / "videos.parquet")
    assert videos["drift"].dtype == np.float64
    assert videos["drift"].isna().all()
    summary = summary_table(tmp_path.name, scores.kinds, scores.results)
    reasons = {reason for reason in videos["drift_reason"] if reason}
    assert len(reasons) == len(metrics)
    for reason in reasons:
        assert [reason in note for note in summary.footnotes].count(True) == 1
    against = compare_folders(scores.results, Results.load(scores.out))
    page = write_scores_page(scores, "fp-lab evaluate", [against]).read_text()
    assert "no drift can be told from none" in page


def test_odd_large_deep_and_uneven_videos_are_scored(tmp_path: Path) -> None:
    bad_videos.write(tmp_path / "odd.mkv", bad_videos.moving(4, 47, 63), pix_fmt="yuv444p")
    bad_videos.write(tmp_path / "large.mkv", bad_videos.moving(2, 2160, 3840))
    bad_videos.write(tmp_path / "deep.mkv", bad_videos.moving(4), pix_fmt="yuv420p10le")
    bad_videos.write(tmp_path / "uneven.mkv", bad_videos.moving(5), times=[0, 40, 80, 400, 440])
    scores = score(tmp_path)
    assert scores.skipped == {}
    facts = scores.results.files
    assert (facts["odd.mkv"]["width"], facts["odd.mkv"]["height"]) == (63, 47)
    assert facts["large.mkv"]["width"] == 3840
    assert [name for name, found in facts.items() if found["notes"]] == ["uneven.mkv"]
    assert "frame rate varies" in facts["uneven.mkv"]["notes"][0]
    values = scores.results.values(SHARP)
    assert values["deep.mkv"] == pytest.approx(values["uneven.mkv"], abs=0.02)
    assert glance(tmp_path / "deep.mkv").steady


def test_groups_have_means_of_their_own(tmp_path: Path) -> None:
    for group, size in (("sharp", 1), ("blocks", 8)):
        (tmp_path / group).mkdir()
        for seed in range(2):
            small = [frame[::size, ::size] for frame in bad_videos.moving(6, seed=seed)]
            frames = [frame.repeat(size, 0).repeat(size, 1) for frame in small]
            bad_videos.write(tmp_path / group / f"{seed}.mkv", frames)
    scores = score(tmp_path / "sharp", tmp_path / "blocks", out=tmp_path / "out")
    assert list(scores.results.groups) == ["sharp", "blocks"]
    assert list(scores.results.files) == ["sharp/0.mkv", "sharp/1.mkv", "blocks/0.mkv", "blocks/1.mkv"]
    names = [line.name for line in scores.tables[0].lines]
    assert names[-2:] == ["mean of sharp", "mean of blocks"]
    page = write_scores_page(scores, "fp-lab evaluate sharp blocks").read_text()
    assert all(text in page for text in ("sharp: 2 videos", "blocks: 2 videos", QUICK.key, SHARP))
    assert (tmp_path / "out" / "curves.png").is_file()
    assert len(list((tmp_path / "out" / "videos").glob("*.jpg"))) == 4


def test_a_page_says_what_stands_still(tmp_path: Path) -> None:
    bad_videos.write(tmp_path / "frozen.mkv", bad_videos.moving(1) * 12)
    bad_videos.write(tmp_path / "loop.mkv", bad_videos.moving(4) * 4)
    page = write_scores_page(score(tmp_path), "fp-lab evaluate").read_text()
    assert "frozen in 100 % of its steps" in page
    assert "frozen: 1 of 2 videos" in page
    assert "repeats every 4 frames" in page


def test_two_sets_are_compared_in_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for seed in range(4):
        frames = bad_videos.moving(10, seed=seed)
        noisy = [np.clip(f + rng.normal(0, 20, f.shape), 0, 255).astype(np.uint8) for f in frames]
        for group, shown in (("clean", frames), ("noisy", noisy)):
            (tmp_path / group).mkdir(exist_ok=True)
            bad_videos.write(tmp_path / group / f"{seed}.mkv", shown, pix_fmt="bgr0")
    clean, noisy_scores = (score(tmp_path / group) for group in ("clean", "noisy"))
    table = compare_folders(noisy_scores.results, clean.results)
    line = next(line for line in table.lines if line.name == SHARP)
    assert "4 pairs" in table.title
    assert line.cells[0].high < 0
    same = compare_folders(clean.results, clean.results)
    assert all(line.cells[i].value == 0 for line in same.lines for i in (0, 3, 6))
    other = score(tmp_path / "noisy", out=tmp_path / "o", measuring=PLAIN)
    with pytest.raises(ValueError, match=r"\bprotocols, .*plain/dis-middle-frame"):
        compare_folders(clean.results, other.results)


def test_prompts_are_read_from_every_kind_of_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"a.mp4": "one", "deep/b.mp4": "two"}))
    (tmp_path / "p.csv").write_text('file,prompt\na.mp4,"one, two"\nb,two\n')
    (tmp_path / "p.txt").write_text("a.mp4\tone\n\nb.mp4\ttwo\n")
    (tmp_path / "marked.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "p.csv").read_bytes())
    kinds = {"p.json": "one", "p.csv": "one, two", "p.txt": "one", "marked.csv": "one, two"}
    for name, first in kinds.items():
        found = {file.name: file.prompt for file in find_videos([folder], tmp_path / name).files}
        assert found == {"a.mp4": first, "deep/b.mp4": "two", "broken.mp4": ""}
    assert {f.name: f.prompt for f in find_videos([folder]).files}["a.mp4"] == "a ball"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.txt", "a.mp4 one", r"line 1 .*\btab\b"),
        ("p.json", "[1]", r"p\.json: expected .*\bobject\b"),
        ("p.json", "{", r"p\.json: .*\bJSON\b"),
        ("p.csv", "name,text\na,b\n", r"columns name, text, expected .*\bprompt"),
        ("p.txt", "else.mp4\tone", r"\bnone .*, got else\.mp4"),
    ],
)
def test_prompts_that_cannot_be_meant_are_refused(
    name: str, text: str, message: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        find_videos([folder], tmp_path / name)
    with pytest.raises(ValueError, match=r"/nowhere\.txt: "):
        read_prompts(tmp_path / "nowhere.txt")


def test_single_files_and_folders_of_one_name(folder: Path, tmp_path: Path) -> None:
    files = find_videos([folder / "a.mp4", folder / "deep" / "b.mp4"]).files
    assert [file.name for file in files] == ["a.mp4", "b.mp4"]
    other = tmp_path / "else" / "in"
    other.mkdir(parents=True)
    (other / "a.mp4").touch()
    assert len({file.group for file in find_videos([folder, other]).files}) == 2
    assert len({file.name for file in find_videos([folder / "a.mp4", other / "a.mp4"]).files}) == 2
    assert len(find_videos([folder, folder / "a.mp4"]).files) == 3  # once, however often it is named


def test_a_folder_that_is_not_there_is_said_before_weights_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"folder .*/nowhere$"):
        score_folders([tmp_path / "nowhere"], measuring=Measuring(("offline",)))


def test_nothing_to_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder .*/nowhere$"):
        score(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=re.escape(f"file in {tmp_path};")):
        score(tmp_path)
    with pytest.raises(ValueError, match=r"^world/.*\btruth\b.* plain"):
        score(tmp_path, measuring=Measuring(("world",)))
    (tmp_path / "x.mp4").write_text("no")
    with pytest.raises(ValueError, match=r"(?s)\busable\b.*\n  x\.mp4: "):
        score(tmp_path)
