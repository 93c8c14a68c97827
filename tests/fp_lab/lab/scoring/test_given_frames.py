"""Drift against the given frame, from the scores that runs have left; what arms lose at once is told."""

import json
from pathlib import Path

import pandas as pd
import pytest

from fake_runs import CONTROL, INVERTED, VANILLA, experiment, fake_run, noise
from fp_lab.lab.compare.comparison import Comparison, compare_runs
from fp_lab.lab.scoring.files import headline
from fp_lab.lab.scoring.given_frames import GIVEN_COLUMNS
from fp_lab.lab.scoring.score_run import score_run
from fp_lab.lab.tables import Cell
from made_up_scores import Figures, made_up_grid

FALL, FRAMES = 0.3, 40


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs as they were left before drift against the given frame was stored."""
    arms = {VANILLA: Figures(), INVERTED: Figures(fall=FALL), CONTROL: Figures(fall=0.6)}
    return made_up_grid(tmp_path_factory.mktemp("grid"), arms, videos=8, frames=FRAMES)


@pytest.fixture(scope="module")
def comparison(grid: Path) -> Comparison:
    return compare_runs([grid])


def cell(comparison: Comparison, table: str, arm: str, score: str) -> Cell:
    made = comparison.table(table)
    (line,) = [line for line in made.lines if line.name == arm]
    return line.cells[[column.key for column in made.columns].index(score)]


def test_a_fall_inside_the_first_segment_is_drift_against_the_given_frame(comparison: Comparison) -> None:
    paper = cell(comparison, "drift-world", INVERTED, "clarity")
    given = cell(comparison, "drift-given-world", INVERTED, "clarity")
    assert given.value == pytest.approx(FALL, abs=0.03)
    assert paper.value == pytest.approx(FALL / 6, abs=0.03)  # one frame of the first six
    assert given.low < given.value < given.high
    assert cell(comparison, "drift-given-world", VANILLA, "clarity").value < 0.05
    assert cell(comparison, "drift-given-world", "ground truth", "clarity").value < 0.03
    assert comparison.table("drift-given-world") not in comparison.shown
    assert "drift-given-world" in comparison.written("csv")


def test_scores_of_several_frames_are_undefined_with_the_reason(comparison: Comparison) -> None:
    motion = cell(comparison, "drift-given-world", VANILLA, "motion")
    assert motion.value != motion.value
    assert "3 frames at once" in motion.reason


def test_the_verdict_tells_what_is_lost_inside_the_first_segment(
    comparison: Comparison, tmp_path: Path
) -> None:
    verdict = comparison.verdict
    assert {fall.arm for fall in verdict.start_falls} == {INVERTED}
    fall = next(fall for fall in verdict.start_falls if fall.score == "clarity")
    assert fall.change.mean == pytest.approx(-FALL * 5 / 6, abs=0.03)
    assert fall.change.low < fall.change.mean < fall.change.high < 0
    label = next(arm.label for arm in comparison.gathered.arms if arm.name == INVERTED)
    assert f"“{label}”" in verdict.start
    assert "drift-given-world" in verdict.start
    assert verdict.start in verdict.text
    comparison.write(tmp_path)
    assert json.loads((tmp_path / "verdict.json").read_text())["start"] == verdict.start


def test_nothing_is_told_of_a_score_that_falls_steadily(tmp_path: Path) -> None:
    grid = made_up_grid(tmp_path, {VANILLA: Figures(), INVERTED: Figures(slope=-0.3)}, frames=FRAMES)
    assert compare_runs([grid]).verdict.start == ""


def test_new_runs_store_what_old_ones_get_from_their_frames(tmp_path: Path) -> None:
    run, config = tmp_path / "grid" / VANILLA / "seed0", experiment(VANILLA, videos=2)
    fake_run(run, config, noise)
    summary = score_run(run, config, workers=1)
    figures = headline(summary)
    assert figures["plain/clarity.drift_given"] > 0
    stored = compare_runs([tmp_path / "grid"]).gathered.videos
    file = run / "scores" / "videos.parquet"
    pd.read_parquet(file).drop(columns=list(GIVEN_COLUMNS)).to_parquet(file)
    summary.pop("spans")
    (run / "scores" / "summary.json").write_text(json.dumps(summary))
    again = compare_runs([tmp_path / "grid"]).gathered.videos
    (run / "scores" / "frames.parquet").unlink()  # read once: the index keeps what was made of it
    kept = compare_runs([tmp_path / "grid"]).gathered.videos
    pd.testing.assert_frame_equal(kept, again)
    assert stored["drift_given"].notna().any()
    pd.testing.assert_frame_equal(stored[list(GIVEN_COLUMNS)], again[list(GIVEN_COLUMNS)])
