"""Whichever file of a run is damaged in whichever way: it is named, and the page is made of the others."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fp_lab.cli import app
from fp_lab.lab.compare.comparison import compare
from fp_lab.lab.files.video_batch import Videos
from fp_lab.lab.report.protocol import protocol_html
from fp_lab.lab.results.gather import Gathered, gather, make_from_scores
from fp_lab.lab.runtime.environment import environment
from made_up_scores import Figures, made_up_grid

CAME_BACK = {"kind": "recall", "gap": 4, "agreement": 0.5, "psnr": 20.0, "weight": 1.0, "reason": None}
TOLD = CAME_BACK | {"kind": "told", "psnr": None}
STAGES = {stage: {"environment": environment(), "git": None, "data": "d"} for stage in ("train", "sample")}
FORGETTING = {
    "clusters": ["a", "b"],
    "histories": {"own": [[CAME_BACK], []], "true": [[CAME_BACK, TOLD], []]},
}
READ = (
    *("config.yaml", "samples/own.safetensors"),
    *("scores/frames.parquet", "scores/summary.json", "scores/videos.parquet"),
)
RECORDS = {"scores/forgetting.json": "memory", "provenance.json": "the environment"}
ODD: tuple[Any, ...] = (None, "x", ["x"], {"x": ["x"]}, -1)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs and the ground truth, with all that a page reads."""
    folder = made_up_grid(
        tmp_path_factory.mktemp("runs") / "grid", {"g5": Figures(0.5), "g9": Figures(0.4)}, videos=2
    )
    for run in folder.glob("g*/seed0"):
        (run / "provenance.json").write_text(json.dumps(STAGES))
        (run / "scores" / "forgetting.json").write_text(json.dumps(FORGETTING))
    return folder


def damages(file: Path) -> Iterator[bytes]:
    """Its content cut off, gone, replaced by junk, zeroes or brackets without end, and with odd parts."""
    content = file.read_bytes()
    if file.suffix != ".yaml":  # of which a part is YAML too
        yield from (content[: len(content) // 2], b"")
    yield from (bytes(range(255, 127, -1)), bytes(len(content)))
    if file.suffix == ".json":
        yield b"[" * 100_000
        told = json.loads(content)
        parts = told if file.name == "forgetting.json" else ()
        yield from (json.dumps(told | {key: odd}).encode() for key in parts for odd in ODD)


def read_all(gathered: Gathered) -> str:
    """What the page of a grid reads, its pictures left out."""
    said = compare(gathered).markdown
    assert len(gathered.frames) + len(gathered.floor_frames) > 0
    for _, _, run in gathered.runs:
        Videos.load(run / "samples" / "own.safetensors")
    return said + protocol_html(gathered, gathered.arms[0].folders[0].parents[1])


@pytest.mark.parametrize("name", READ)
def test_a_damaged_file_is_named_and_its_run_left_out(grid: Path, name: str) -> None:
    file = grid / "g9" / "seed0" / name
    whole = file.read_bytes()
    for form in damages(file):
        file.write_bytes(form)
        said = make_from_scores(read_all, [grid])
        assert f"Left out: {file}: is damaged" in said, form[:80]
        assert "g5" in said
    file.write_bytes(whole)
    assert "Left out" not in make_from_scores(read_all, [grid])


@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_takes_nothing_with_it_but_what_it_gives(grid: Path, name: str) -> None:
    file = grid / "g9" / "seed0" / name
    whole, found = file.read_bytes(), gather([grid])
    tables = {key: compare(found).table(key).lines for key in ("drift-world", "cost")}
    for form in damages(file):
        file.write_bytes(form)
        said = make_from_scores(read_all, [grid])
        left = gather([grid])
        assert {key: compare(left).table(key).lines for key in tables} == tables, form[:80]
        assert left.damaged == {}
        assert f"Left out of {RECORDS[name]}, not of the scores: {file}: is damaged" in said, form[:80]
        remembered = {"g5"} if name == "scores/forgetting.json" else {"g5", "g9"}
        assert set(left.returned) == remembered
    file.write_bytes(whole)
    assert "Left out" not in make_from_scores(read_all, [grid])


@pytest.mark.parametrize("name", ["frames.parquet", "videos.parquet"])
def test_a_damaged_ground_truth_is_left_out_alone(grid: Path, name: str) -> None:
    file = grid / "truth" / "scores" / name
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    said = make_from_scores(read_all, [grid])
    file.write_bytes(whole)
    assert f"Left out: {file}: is damaged" in said
    assert "g9" in said


def test_the_command_shows_the_others_and_fails(grid: Path) -> None:
    file = grid / "g9" / "seed0" / "scores" / "forgetting.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    done = CliRunner().invoke(app, ["compare", str(grid)])
    file.write_bytes(whole)
    assert done.exit_code == 1
    assert str(file) in done.output.replace("\n", "")
    assert "g5" in done.output
