"""Tracking afterwards: what is missing is scored, what is bad is left out, what is shown is there."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fixtures import tiny_config
from fp_lab.lab.checkpoints.afterwards import Tracked, find_runs, page_folder, track
from fp_lab.lab.checkpoints.best import Goal
from fp_lab.lab.checkpoints.during_training import train_tracked
from fp_lab.lab.checkpoints.rows import COLUMNS, tracked_path
from fp_lab.lab.checkpoints.table import best_lines, steps_table
from fp_lab.lab.config import to_yaml
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.without_rollout import read_rows, steps_file
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.report.checkpoints_page import write_track_page
from fp_lab.lab.runtime.progress import CheckpointProgress
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.tracking.log_run import checkpoints_of
from fp_lab.lab.training.checkpoints import Checkpoint, checkpoints

ARMS = ("td_f2k2f1k1_g3", "f1k1_x_g3_f1k1f2k2_td")
GOAL = Goal.parse("plain/identity")


class Counting(CheckpointProgress):
    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.scored: list[str] = []

    def checkpoint(self, label: str) -> None:
        self.scored.append(label)


def trained(folder: Path, arm: str, *settings: str) -> RunFolder:
    """A training of 4 steps with checkpoints at 2 and 4, not scored."""
    config = tiny_config(folder, ["track.every=2", "track.score=false", f"recipe={arm}", *settings])
    place = RunFolder(folder / "runs" / "grid" / arm / f"seed{config.seed}")
    place.path.mkdir(parents=True)
    place.config.write_text(to_yaml(config))
    train_tracked(place, config, "key", Materials(folder / "runs" / "cache", Reporter()), Reporter())
    return place


@pytest.fixture(scope="module")
def bad(folder: Path) -> Checkpoint:
    """The first checkpoint of the second arm, damaged."""
    trained(folder, ARMS[0])
    place = checkpoints(trained(folder, ARMS[1]))[0]
    (place.model / "model.safetensors").write_bytes(b"no weights")
    return place


@pytest.fixture(scope="module")
def first(bad: Checkpoint, folder: Path) -> tuple[Tracked, Counting]:
    progress = Counting()
    return track(find_runs([folder / "runs"]), progress), progress


def test_a_bad_checkpoint_is_named_and_the_others_are_scored(
    first: tuple[Tracked, Counting], bad: Checkpoint
) -> None:
    tracked, progress = first
    assert len(progress.scored) == 4
    (why,) = tracked.failed
    assert f"{ARMS[1]} seed 0, step 2: ValueError" in why
    assert "the file is damaged" in why
    assert "damaged" in bad.error.read_text()
    steps = {run.arm: sorted(set(run.table["step"])) for run in tracked.runs}
    assert steps == {ARMS[0]: [2, 4], ARMS[1]: [4]}
    assert {run.arm: run.missing for run in tracked.runs} == {ARMS[0]: (), ARMS[1]: (2,)}


def test_another_call_does_only_what_is_missing(
    first: tuple[Tracked, Counting], folder: Path, bad: Checkpoint
) -> None:
    tracked, _ = first
    progress = Counting()
    again = track(find_runs([folder / "runs" / "grid"]), progress)
    assert progress.scored == [f"{ARMS[1]} seed 0, step 2"]
    for one, other in zip(tracked.runs, again.runs, strict=True):
        pd.testing.assert_frame_equal(one.table, other.table, check_exact=True)
        pd.testing.assert_frame_equal(one.table, pd.read_parquet(tracked_path(one.run)))
        assert tuple(one.table.columns) == COLUMNS


def test_the_noise_floor_is_scored_where_nobody_has_done_it(first: tuple[Tracked, Counting]) -> None:
    tracked, _ = first
    floors = tracked.runs[0].table.set_index("estimator")["drift_floor"]
    assert np.isfinite(floors["companion/psnr"])


def test_the_table_has_a_line_per_run_and_a_column_per_step(first: tuple[Tracked, Counting]) -> None:
    tracked, _ = first
    table = steps_table(tracked, GOAL)
    assert [column.key for column in table.columns] == ["2", "4"]
    assert [line.name for line in table.lines] == [f"{run.arm} seed 0" for run in tracked.runs]
    for run, line in zip(tracked.runs, table.lines, strict=True):
        rows = run.table[run.table["score"] == "identity"].set_index("step")
        for column, cell in zip(table.columns, line.cells, strict=True):
            step = int(column.key)
            expected = rows.loc[step, "value"] if step in rows.index else np.nan
            assert cell.value == pytest.approx(expected, nan_ok=True)
            assert cell.low == pytest.approx(
                rows.loc[step, "value_low"] if step in rows.index else np.nan, nan_ok=True
            )
    assert [sum(cell.best for cell in line.cells) for line in table.lines] == [1, 1]
    assert any("unreliable" in note for note in table.notes)
    assert any("no scores of step 2" in note for note in table.notes)


def test_measures_without_rollout_are_rows_of_the_table_and_charts_of_mlflow(
    first: tuple[Tracked, Counting],
) -> None:
    tracked, _ = first
    run = tracked.runs[-1]  # all of its checkpoints are scored
    charts = checkpoints_of(tracked_path(run.run))
    for place in checkpoints(run.run):
        rows = read_rows(steps_file(place))
        means = rows[rows["measure"] == "influence"].groupby("of")["value"].mean()
        table = run.table[(run.table["step"] == place.step) & (run.table["family"] == "influence")]
        assert len(means) > 1
        assert dict(zip(table["score"], table["value"], strict=True)) == pytest.approx(dict(means))
        for level, mean in means.items():
            assert charts[place.step][f"track/influence/{level}"] == pytest.approx(mean)
    line = steps_table(tracked, Goal.parse("step_error/section")).lines[0]
    assert [cell.best for cell in line.cells].count(True) == 1, "fewer errors are better"


def test_the_best_checkpoint_is_told_in_words(first: tuple[Tracked, Counting]) -> None:
    tracked, _ = first
    for run, line in zip(tracked.runs, best_lines(tracked, GOAL), strict=True):
        rows = run.table[run.table["score"] == "identity"].set_index("step")["value"]
        assert f"best at step {rows.idxmax()}, plain/identity {rows.max():.3f}" in line


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.images += [found["src"] or ""] if tag == "img" else []
        self.links += [found["href"] or ""] if tag == "a" else []

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_complete_in_one_file(first: tuple[Tracked, Counting], tmp_path: Path) -> None:
    tracked, _ = first
    page = Page()
    page.feed(write_track_page(tracked, GOAL, tmp_path).read_text(encoding="utf-8"))
    assert len(page.images) == 7  # drift and scores of two families, influence, errors of steps, losses
    assert all(image.startswith("data:image/png;base64,") for image in page.images)
    beside = [link for link in page.links if not link.startswith("#")]
    assert {link for link in beside if link.endswith(".svg")} >= {
        "drift-plain.svg",
        "scores-plain.svg",
        "loss.svg",
    }
    assert all((tmp_path / link).stat().st_size > 500 for link in beside)
    for words in (*ARMS, "best at step", "damaged", "about these trained models", "step 4"):
        assert words in page.text, words


def test_runs_without_checkpoints_say_which_setting_makes_them(tmp_path: Path) -> None:
    place = trained(tmp_path, ARMS[0], "track.every=0")
    with pytest.raises(ValueError, match=r"checkpoints .*seed0; .*track\.every=N"):
        track(find_runs([place.path]), Counting())
    with pytest.raises(ValueError, match=r"folder .*nowhere"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"training .*/empty; .*track\.every=N"):
        find_runs([tmp_path / "empty"])


def test_runs_of_several_grids_need_a_folder_for_their_page(tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / grid / "arm" / "seed0") for grid in ("one", "other")]
    assert page_folder(runs[:1], None) == tmp_path / "one" / "track"
    assert page_folder(runs, tmp_path / "page") == tmp_path / "page"
    with pytest.raises(ValueError, match="give --out FOLDER"):
        page_folder(runs, None)
