"""The lab's own index: what is unchanged is not read again, what is broken is made anew."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fake_runs import CONTROL, INVERTED, VANILLA
from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.results import run_index
from fp_lab.lab.results.gather import gather
from fp_lab.lab.results.run_index import INDEX_FILE, read_runs
from made_up_scores import Figures, made_up_grid

ARMS = {VANILLA: Figures(0.9, -0.3), INVERTED: Figures(0.8), CONTROL: Figures(0.3)}


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return made_up_grid(tmp_path / "grid", ARMS, videos=3, seeds=(0, 1))


def runs_of(grid: Path) -> list[Path]:
    return sorted(grid.glob("*/seed*"))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    real = run_index._read
    monkeypatch.setattr(run_index, "_read", lambda run, state: (read.append(run), real(run, state))[1])
    return read


def test_the_index_holds_what_the_files_hold(grid: Path) -> None:
    found = read_runs(grid, runs_of(grid)).frame()
    again = read_runs(grid, runs_of(grid)).frame()
    for run in runs_of(grid):
        own = pd.read_parquet(run / "scores" / "videos.parquet").query("history == 'own'")
        for frame in (found, again):
            chosen = (frame["arm"] == run.parent.name) & (frame["training_seed"] == int(run.name[-1]))
            for column in ("value", "drift", "exposure_gap", "prompt", "estimator", "drift_reason"):
                left, right = (
                    t[column].astype(object).where(t[column].notna(), None) for t in (frame[chosen], own)
                )
                assert left.tolist() == right.tolist(), column


def test_only_what_changed_is_read_again(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_reads(monkeypatch)
    read_runs(grid, runs_of(grid))
    assert len(read) == 6
    read_runs(grid, runs_of(grid))
    assert len(read) == 6
    changed = grid / VANILLA / "seed1"
    table = pd.read_parquet(changed / "scores" / "videos.parquet").assign(value=0.125)
    table.to_parquet(changed / "scores" / "videos.parquet", index=False)
    frame = read_runs(grid, runs_of(grid)).frame()
    assert read[6:] == [changed]
    chosen = (frame["arm"] == VANILLA) & (frame["training_seed"] == 1)
    assert set(frame.loc[chosen, "value"]) == {0.125}
    assert 0.125 not in set(frame.loc[~chosen, "value"])


def test_runs_that_are_gone_or_not_asked_for_are_left_out(grid: Path) -> None:
    read_runs(grid, runs_of(grid))
    one = [grid / INVERTED / "seed0"]
    assert set(read_runs(grid, one).runs) == {f"{INVERTED}/seed0"}
    assert set(read_runs(grid, one).frame()["arm"]) == {INVERTED}
    shutil.rmtree(grid / VANILLA / "seed0" / "scores")
    assert f"{VANILLA}/seed0" not in read_runs(grid, runs_of(grid)).runs
    assert len(gather([grid]).waiting) == 1


@pytest.mark.parametrize("content", [b"", b"no parquet", None])
def test_a_broken_index_is_made_anew(grid: Path, content: bytes | None) -> None:
    whole = read_runs(grid, runs_of(grid)).frame()
    path = grid / INDEX_FILE
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    pd.testing.assert_frame_equal(read_runs(grid, runs_of(grid)).frame(), whole, check_categorical=False)
    assert read_runs(grid, runs_of(grid)).runs.keys() == {f"{arm}/seed{s}" for arm in ARMS for s in (0, 1)}


def test_a_version_of_its_own_is_not_believed(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_runs(grid, runs_of(grid))
    monkeypatch.setattr(run_index, "_VERSION", run_index._VERSION + 1)
    read = count_reads(monkeypatch)
    read_runs(grid, runs_of(grid))
    assert len(read) == 6


def test_a_folder_that_cannot_be_written_is_compared_all_the_same(
    grid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(run_index, "_save", refuse)
    assert len(read_runs(grid, runs_of(grid)).runs) == 6
    assert not (grid / INDEX_FILE).exists()


def test_of_two_writers_one_wins_and_nothing_is_lost(grid: Path) -> None:
    """Each has read only its own half; the file of the later one lacks the other's, which is read again."""
    half, other = runs_of(grid)[:3], runs_of(grid)[3:]
    read_runs(grid, half)
    late = (grid / INDEX_FILE).read_bytes()
    (grid / INDEX_FILE).unlink()
    read_runs(grid, other)
    (grid / INDEX_FILE).write_bytes(late)
    assert len(read_runs(grid, runs_of(grid)).runs) == 6
    assert not list(grid.glob(".*"))


def test_comparing_from_the_index_gives_the_same_figures(grid: Path) -> None:
    first, second = compare_runs([grid]), compare_runs([grid])
    assert first.markdown == second.markdown
    assert json.dumps(first.gathered.protocol) == json.dumps(second.gathered.protocol)


def test_the_same_arm_in_two_grids_is_refused(grid: Path, tmp_path: Path) -> None:
    other = made_up_grid(tmp_path / "other", {VANILLA: Figures()}, videos=3)
    label = rf"in two of these grids.*\{{recipe: {VANILLA}, label: {VANILLA}_2\}}"
    with pytest.raises(ValueError, match=label):
        gather([grid, other])
