"""The paper's figures beside ours: matched by name, in columns of their own, orders correlated."""

import shutil
from pathlib import Path

import pytest

from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.compare.paper import paper
from fp_lab.lab.tables import Table, to_markdown
from made_up_scores import Figures, made_up_grid

VANILLA, DISCRETE = "td_f16k4f2k2f1k1_g9", "td_f16k4f2k2f1k1_g9+D"
DEEP, INVERTED = "td_f8k8f4k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td"
SLOPES = {VANILLA: -0.7, DISCRETE: -0.4, DEEP: -0.9, INVERTED: -0.1}  # the paper's order in drift of clarity


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = {name: Figures(0.9, slope) for name, slope in SLOPES.items()} | {"ta_f4k4f1k1_g9": Figures()}
    return made_up_grid(tmp_path_factory.mktemp("runs") / "table1", arms, frames=24)


@pytest.fixture(scope="module")
def table(grid: Path) -> Table:
    (found,) = [t for t in compare_runs([grid]).tables if t.key == "paper-table1"]
    return found


def test_the_reference_file_is_typed_data() -> None:
    told = paper()
    rows = {row.name: row for row in told.table("table1").rows}
    assert rows[DISCRETE].figures["drift_clarity"] == 2.30
    assert rows[DISCRETE].status == "quoted"
    assert told.variants["extended"] == {"parameters": 20e9, "context_tokens": 3900}
    unknown = {row.name: row for row in told.table("table2").rows}["noisy_history_train0.1_test0.1"]
    assert unknown.figures == {}
    assert unknown.status == "named in the text, figures unknown"
    with pytest.raises(ValueError, match=r"'table3', expected .*table1, table2"):
        told.table("table3")


def test_a_grid_of_a_tables_name_gets_it_and_others_on_request(grid: Path, tmp_path: Path) -> None:
    other = tmp_path / "mine"
    shutil.copytree(grid, other)
    assert not [key for key in compare_runs([other]).makers if key.startswith("paper")]
    assert "paper-table2" in compare_runs([other], beside="table2").makers
    with pytest.raises(ValueError, match=r"'table9', expected .*table1, table2"):
        compare_runs([other], beside="table9")
    with pytest.raises(ValueError, match=r"got --paper table2, .*: repeating_i2v"):
        compare_runs([other / "ta_f4k4f1k1_g9"], beside="table2")


def test_figures_of_the_paper_have_columns_of_their_own_with_their_status(table: Table) -> None:
    titles = [column.title for column in table.columns]
    place = titles.index("paper: drift clarity (quoted)")
    cells = {line.name: line.cells for line in table.lines}
    assert cells[DISCRETE][place].value == 2.30
    assert titles[place - 1] == "ours: drift clarity"
    assert cells[DISCRETE][place - 1].value == pytest.approx(0.4, abs=0.06)
    assert not any(cell.best for line in table.lines for cell in line.cells)
    elo = titles.index("paper: elo (quoted)")
    assert cells[INVERTED][elo].value == 1220


def test_matched_by_canonical_name_and_the_rest_is_listed(table: Table) -> None:
    assert {line.name for line in table.lines} == set(SLOPES)
    notes = "\n".join(table.notes)
    assert "In the paper's table, not among these runs: td_f8k8f4k4f2k2f1k1_g9+D." in notes
    assert "Among these runs, not in the paper's table: ta_f4k4f1k1_g9." in notes


def test_orders_are_correlated_where_three_figures_exist(table: Table) -> None:
    """Deep > vanilla > discrete > inverted in the paper and here: one of 24 orders, two-sided p = 2/24."""
    notes = "\n".join(table.notes)
    assert "Order in drift clarity: Kendall's tau-b 1.00, p = 0.083, n = 4 arms." in notes
    assert "Order in dynamic" not in notes, "the paper gives one figure only"
    assert "Kendall" in to_markdown(table)
