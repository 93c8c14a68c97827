"""VBench's files in and out of a scored folder."""

import json
import math
from pathlib import Path

import pytest

import bad_videos
from fp_lab.lab.evaluate.score_file import Measuring
from fp_lab.lab.evaluate.score_folders import FolderScores, score_folders
from fp_lab.lab.evaluate.vbench import vbench_table, write_vbench
from fp_metrics.vbench_json import read_vbench_json


@pytest.fixture
def scores(tmp_path: Path) -> FolderScores:
    for seed in range(2):
        bad_videos.write(tmp_path / f"{seed}.mkv", bad_videos.moving(8, seed=seed))
    return score_folders([tmp_path], measuring=Measuring(("plain",), ("clarity", "dynamic")), workers=1)


def test_what_vbench_has_measured_stands_beside_ours(scores: FolderScores, tmp_path: Path) -> None:
    rows = [{"video_path": f"elsewhere/{seed}.mkv", "video_results": 60 + 10 * seed} for seed in (0, 1, 5)]
    degree = [{"video_path": "elsewhere\\1.mkv", "video_results": True}]
    theirs = tmp_path / "eval_results.json"
    theirs.write_text(json.dumps({"imaging_quality": [0.65, rows], "dynamic_degree": [1.0, degree]}))
    table = vbench_table(theirs, scores.results)
    assert [column.subtitle for column in table.columns] == [
        "paper/vbench-imaging-quality",
        "paper/vbench-dynamic-degree",
    ]
    cells = {line.name: [cell.value for cell in line.cells] for line in table.lines}
    assert cells["0.mkv"][0] == 60
    assert cells["1.mkv"] == [70, 1]
    assert cells["mean"][0] == 65
    assert table.lines[0].cells[1].reason == "not in VBench's file"
    assert [column.better for column in table.columns] == ["higher", None]


def test_a_file_about_other_videos_is_refused(scores: FolderScores, tmp_path: Path) -> None:
    rows = [{"video_path": "other.mp4", "video_results": 60}]
    (tmp_path / "x.json").write_text(json.dumps({"imaging_quality": [0.6, rows]}))
    with pytest.raises(ValueError, match=r"/x\.json: .*\bnone .*\bother\.mp4"):
        vbench_table(tmp_path / "x.json", scores.results)


def test_ours_are_written_in_vbenchs_form_under_their_own_names(scores: FolderScores) -> None:
    written = json.loads(write_vbench(scores).read_text())
    assert written["fp_lab"]["fingerprint"] == scores.results.fingerprint
    assert not any(
        "_" in name for name in written if name != "fp_lab"
    )  # none passes for a figure of VBench's
    mean, rows = written["plain/denoised-sharpness"]
    values = [row["video_results"] for row in rows]
    assert mean == pytest.approx(sum(values) / 2)
    assert [row["video_path"] for row in rows] == ["0.mkv", "1.mkv"]
    again = read_vbench_json(scores.out / "vbench.json")
    assert again.dimensions == {}
    assert list(again.others) == list(written)


def test_figures_of_one_model_never_stand_with_another(tmp_path: Path) -> None:
    """Two folders with the same file names; VBench has looked at one of them."""
    for model in ("model_a", "model_b"):
        for name in ("dog", "cat"):
            (tmp_path / model).mkdir(exist_ok=True)
            bad_videos.write(tmp_path / model / f"{name}.mkv", bad_videos.moving(8))
    measuring = Measuring(("plain",), ("clarity",))
    scores = score_folders([tmp_path / "model_a", tmp_path / "model_b"], measuring=measuring, workers=1)
    rows = [
        {"video_path": f"/data/model_a/{n}.mkv", "video_results": v} for n, v in (("dog", 90), ("cat", 80))
    ]
    theirs = tmp_path / "a.json"
    theirs.write_text(json.dumps({"imaging_quality": [0.85, rows]}))
    table = vbench_table(theirs, scores.results)
    found = {line.name: line.cells[0].value for line in table.lines}
    assert found["model_a/dog.mkv"] == 90
    assert found["model_a/cat.mkv"] == 80
    assert found["mean of model_a"] == 85
    assert all(math.isnan(found[name]) for name in ("model_b/dog.mkv", "model_b/cat.mkv", "mean of model_b"))
    assert any(note.startswith("2 of the 2 videos") for note in table.notes)
