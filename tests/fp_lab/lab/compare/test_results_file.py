"""Results of a grid as a file: what is drawn from it is what its runs say, without the runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fake_runs import CONTROL, INVERTED, VANILLA
from fp_lab.cli import app
from fp_lab.lab.compare.comparison import compare
from fp_lab.lab.compare.forgetting import gather_forgetting
from fp_lab.lab.compare.results_file import StoredResults, load_results, store_results
from fp_lab.lab.report.results_page import write_results
from fp_lab.lab.results.gather import Gathered, gather
from made_up_scores import Figures, made_up_grid

ARMS = {VANILLA: Figures(0.9, -0.5), INVERTED: Figures(0.9, -0.02), CONTROL: Figures(0.3)}
VIDEOS = 4
_MADE_WITH = {
    "environment": {
        "processor": "an abacus",
        "cores": 2,
        "gpus": [],
        "system": "Linux",
        "python": "3.11",
        "versions": {"fp_lab": "0.1.0"},
    },
    "git": {"commit": "c0ffee", "changed": []},
    "weights": {"codec": "ab" * 32},
    "data": "d",
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trainings; what came back is worse after 10 frames out of sight than after 9."""
    folder = made_up_grid(tmp_path_factory.mktemp("runs") / "memory", ARMS, videos=VIDEOS, seeds=(0, 1))
    for number, run in enumerate(sorted(folder.glob("*/seed*"))):
        _returns(run, ("own", "true"), 0.5 + 0.05 * number)
        (run / "score.done.json").write_text(json.dumps({"seconds": 30.0}))
        (run / "provenance.json").write_text(json.dumps({"score": _MADE_WITH}))
    _returns(folder / "truth", ("truth",), 0.95)
    (folder / "command.txt").write_text("fp-lab grid memory --seeds 2 --runs '/some one/runs'\n")
    return folder


def _returns(run: Path, histories: tuple[str, ...], agreement: float) -> None:
    place = {"kind": "place", "reason": None}
    video = [
        place | {"gap": 0, "agreement": 1.0, "psnr": 40.0, "weight": 2.0},
        place | {"gap": 9, "agreement": agreement, "psnr": 20.0, "weight": 1.0},
        place | {"gap": 10, "agreement": agreement / 2, "psnr": 10.0, "weight": 3.0},
        {"kind": "told", "gap": 43, "agreement": 1.0, "psnr": None, "weight": 1.0, "reason": None},
        {"kind": "told", "gap": 9, "agreement": None, "psnr": None, "weight": 1.0, "reason": "gone"},
    ]
    content = {
        "clusters": [f"prompt {number}" for number in range(VIDEOS)],
        "histories": {history: [video] * VIDEOS for history in histories},
    }
    (run / "scores" / "forgetting.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def gathered(grid: Path) -> Gathered:
    return gather([grid])


@pytest.fixture(scope="module")
def stored(gathered: Gathered, tmp_path_factory: pytest.TempPathFactory) -> StoredResults:
    path = tmp_path_factory.mktemp("stored") / "memory.parquet"
    store_results(gathered, path)
    return load_results(path)


def test_a_file_says_what_its_runs_say(gathered: Gathered, stored: StoredResults) -> None:
    ours, theirs = compare(stored), compare(gathered)
    assert ours.verdict.control == theirs.verdict.control
    assert [arm.label for arm in stored.arms] == [arm.label for arm in gathered.arms]
    for key in ("drift-world", "score-world", "gap-world", "drift-given-world", "cost"):
        for own, other in zip(ours.table(key).lines, theirs.table(key).lines, strict=True):
            assert (own.name, own.kind) == (other.name, other.kind)
            for figure in ("value", "low", "high"):
                wanted = [getattr(cell, figure) for cell in other.cells]
                assert [getattr(cell, figure) for cell in own.cells] == pytest.approx(
                    wanted, rel=1e-5, abs=1e-6, nan_ok=True
                )


def test_what_came_back_is_kept_with_its_gaps_and_histories(
    gathered: Gathered, stored: StoredResults
) -> None:
    """Gaps of 9 and 10 frames share a bin: 1 and 3 views make a mean of .25 x + .75 x / 2 = .625 x."""
    ours = {arm.name: arm.kinds for arm in gather_forgetting(stored)}
    assert ours["truth"]["own", "place"].agreement.mean == pytest.approx(0.625 * 0.95)
    assert ours["truth"]["own", "place"].psnr.mean == pytest.approx(-10 * np.log10(0.25e-2 + 0.75e-1))
    assert ours[VANILLA]["true", "told"].agreement.mean == 1
    assert ours[VANILLA]["own", "place"].stayed.mean == 1
    for arm in gather_forgetting(gathered):
        for kind, wanted in arm.kinds.items():
            found = ours[arm.name][kind]
            assert found.forgotten.mean == pytest.approx(wanted.forgotten.mean, nan_ok=True)
            assert (found.videos, found.reasons) == (wanted.videos, wanted.reasons)
            assert [(one.least, one.videos) for one in found.bins] == [
                (one.least, one.videos) for one in wanted.bins
            ]


def test_curves_are_the_means_of_twelve_parts(gathered: Gathered, stored: StoredResults) -> None:
    """Videos of twelve frames: each is a part."""
    keys = ["arm", "training_seed", "video", "frame"]
    wanted = gathered.frames.query("history == 'own' and estimator == 'world/shape-iou'")
    found = stored.frames.query("estimator == 'world/shape-iou'")
    assert len(found) == len(ARMS) * 2 * VIDEOS * 12
    ours, theirs = (rows.astype({"arm": str}).set_index(keys)["value"] for rows in (found, wanted))
    assert ours.to_dict() == pytest.approx(theirs.to_dict(), rel=2**-12)
    assert set(stored.floor_frames["history"].astype(str)) == {"truth"}


def test_values_are_small_and_named(stored: StoredResults, tmp_path: Path, gathered: Gathered) -> None:
    store_results(gathered, tmp_path / "memory.parquet")
    assert (tmp_path / "memory.parquet").stat().st_size < 100_000
    rows = pq.read_table(tmp_path / "memory.parquet").to_pandas()
    assert rows["value"].dtype == np.float32
    own = rows[(rows["history"] == "own") & (rows["estimator"] == "world/shape-iou")]
    assert len(own) == len(ARMS) * 2 * VIDEOS
    for column in ("arm", "recipe", "label", "training_seed", "prompt", "seed", "settings", "protocol"):
        assert own[column].notna().all(), column
    assert stored.about["minutes"] == 30 * len(ARMS) * 2 / 60
    assert stored.about["weights"]["codec"] == "ab" * 32


def test_a_page_is_drawn_again_without_its_runs(grid: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["results", str(grid), "--to", str(tmp_path / "docs")])
    assert done.exit_code == 0, done.output
    shutil.copytree(tmp_path / "docs", tmp_path / "moved")
    page = (tmp_path / "docs" / "memory.md").read_text()
    for told in ("fp-lab grid memory --seeds 2", "c0ffee", "an abacus", "ab" * 32, VANILLA, "`M3`"):
        assert told in page
    pictures = {path.name for path in (tmp_path / "docs" / "memory").glob("*.png")}
    assert pictures == {"forgetting-gap.png", "forgetting-place.png", "orders.png"}
    assert all(f"(memory/{name})" in page for name in pictures)
    for made in (tmp_path / "moved").rglob("*"):
        if made.is_file() and made.suffix != ".parquet":
            made.unlink()
    assert write_results(tmp_path / "moved" / "memory.parquet", tmp_path / "moved").read_text() == page
    for made in (tmp_path / "docs").rglob("*"):
        again = tmp_path / "moved" / made.relative_to(tmp_path / "docs")
        assert made.is_dir() or made.read_bytes() == again.read_bytes(), made


def test_unfinished_grids_and_other_files_are_refused(grid: Path, tmp_path: Path) -> None:
    shutil.copytree(grid, tmp_path / "grid")
    (tmp_path / "grid" / VANILLA / "seed1" / "scores" / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"1 run.*seed1.*expected all"):
        write_results(tmp_path / "grid", tmp_path)
    with pytest.raises(ValueError, match=r"/index\.parquet .*\bfp-lab results\b"):
        load_results(grid / "index.parquet")


def test_a_file_that_holds_no_results_replaces_none(grid: Path, tmp_path: Path) -> None:
    """Such as the page beside the results, which tab completion offers first."""
    write_results(grid, tmp_path)
    stored = tmp_path / "memory.parquet"
    before = stored.read_bytes()
    with pytest.raises(ValueError, match=r"/memory\.md .*\bfp-lab results\b"):
        write_results(tmp_path / "memory.md", tmp_path)
    assert stored.read_bytes() == before
