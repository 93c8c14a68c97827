"""Measures without rollout in comparisons: tables, what is not read, pictures, the results file."""

from pathlib import Path

import numpy as np
import pytest

from fp_lab.lab.compare.comparison import Comparison, compare, compare_runs
from fp_lab.lab.compare.results_file import load_results, store_results
from fp_lab.lab.compare.without_rollout import UNREAD, level_influences, summed_errors
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.without_rollout import read_rows, steps_file
from fp_lab.lab.report.plots.style import looks
from fp_lab.lab.report.without_rollout_section import TITLE, without_rollout
from fp_lab.lab.tables import to_csv, to_markdown
from fp_metrics import cluster_interval
from made_up_scores import Figures, made_up_grid
from made_up_steps import made_up_steps

READS, DEAF, OLD = "td_f16k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td", "td_f1k1_g9"
LEVELS = {"f16k4": (0.3, 0.01), "f2k2": (0.2, 0.01), "f1k1": (0.6, 0.02)}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made_up_grid(
        tmp_path_factory.mktemp("runs") / "mine", dict.fromkeys((READS, DEAF, OLD), Figures())
    )
    made_up_steps(folder / READS / "seed0", LEVELS, (0.1, 0.3))
    made_up_steps(
        folder / DEAF / "seed0", {"f1k1 before": (1.0, 0.02), "f16k4": (0.01, 0.02)}, (0.2, 0.2, 0.4)
    )
    return folder


@pytest.fixture(scope="module")
def comparison(grid: Path) -> Comparison:
    return compare_runs([grid])


def test_influence_has_a_row_per_level_with_the_interval_of_its_videos(
    comparison: Comparison, grid: Path
) -> None:
    table = comparison.table("influence")
    assert [(line.order, line.label) for line in table.lines] == [
        ("f16k4", "vanilla · released"),
        ("f2k2", "vanilla · released"),
        ("f1k1", "vanilla · released"),
        ("f1k1 before", "inverted · released"),
        ("f16k4", "inverted · released"),
    ]
    rows = read_rows(steps_file(RunFolder(grid / READS / "seed0")))
    for line, level in zip(table.lines, LEVELS, strict=False):
        own = rows[(rows["measure"] == "influence") & (rows["of"] == level)]
        expected = cluster_interval(own["value"].tolist(), own["prompt"].tolist())
        _, influence, noise = line.cells
        assert (influence.value, influence.low, influence.high) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
        assert noise.value == pytest.approx(LEVELS[level][1], rel=0.2)
    assert comparison.table("influence") in comparison.shown
    assert "f1k1 before" in to_csv(comparison.tables)


def test_a_level_that_nobody_reads_is_named(comparison: Comparison, tmp_path: Path) -> None:
    (unread,) = [one for one in level_influences(comparison.gathered) if one.unread]
    assert (unread.arm.name, unread.level) == (DEAF, "f16k4")
    told = to_markdown(comparison.table("influence"))
    assert f"Levels with {UNREAD}, which are not read: f16k4 of “inverted · released”." in told
    sections = without_rollout(comparison, looks(comparison.gathered.arms), tmp_path)
    assert list(sections) == [TITLE]
    assert f"Levels with {UNREAD}" in sections[TITLE]
    for name in ("influence", "step-errors"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / f"{name}.svg").is_file()


def test_errors_are_summed_over_the_sections_of_a_video(comparison: Comparison) -> None:
    table = comparison.table("step-errors")
    heads = [column.key for column in table.columns]
    cells = {line.name: dict(zip(heads, line.cells, strict=True)) for line in table.lines}
    assert set(cells) == {READS, DEAF}, "an arm without such measures is left out"
    for arm, total, first, last in ((READS, 0.4, 0.1, 0.3), (DEAF, 0.8, 0.2, 0.4)):
        found = {key: cells[arm][key].value for key in ("section", "first", "last", "rollout", "velocity")}
        expected = {"section": total, "first": first, "last": last, "rollout": 2 * total}
        assert found == pytest.approx(expected | {"velocity": 10 * total}, rel=0.1)
    panel = summed_errors(comparison.gathered, "section")
    assert panel.values.shape == (2, 1, 16)
    assert float(np.nanmean(panel.of([READS]))) == pytest.approx(0.4, rel=0.05)


def test_runs_without_such_measures_have_no_table(grid: Path) -> None:
    assert not {"influence", "step-errors"} & compare_runs([grid / OLD]).makers.keys()


def test_they_come_back_from_a_results_file(comparison: Comparison, tmp_path: Path) -> None:
    store_results(comparison.gathered, tmp_path / "mine.parquet")
    stored = compare(load_results(tmp_path / "mine.parquet"))
    for key in ("influence", "step-errors"):
        for line, again in zip(comparison.table(key).lines, stored.table(key).lines, strict=True):
            assert line.name == again.name
            values = [[cell.value for cell in one.cells] for one in (line, again)]
            assert values[1] == pytest.approx(values[0], rel=1e-6)
    assert stored.makers.keys() == comparison.makers.keys(), "they are in no other table"
    assert len(stored.gathered.videos) == len(comparison.gathered.videos)
