"""The paper's figures beside ours: matched by name, in columns of their own, orders correlated."""

import shutil
from pathlib import Path

import pytest

from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.compare.paper_values import paper
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


QUOTED = {
    "longlive": {
        "FramePack": {"total": 81.95, "quality": 83.61, "semantic": 75.32},
        "LongLive": {"total": 83.52, "quality": 85.44, "semantic": 75.82},
    },
    "svi": {
        "FramePack": {"consistency_50s": 94.72, "consistency_250s": 86.64},
        "Wan2.1": {"consistency_50s": 92.45, "consistency_250s": 87.27},
        "SVI-Shot": {"consistency_50s": 98.19, "consistency_250s": 97.89},
    },
    "memflow": {"FramePack": {"consistency": 96.77, "clip_first": 26.51, "clip_last": 21.62}},
    "context_as_memory": {
        "FramePack": {"psnr": 17.20, "lpips": 0.4757},
        "Context-as-Memory": {"psnr": 20.22, "lpips": 0.3003},
    },
}
"""What the readers of LongLive, SVI, MemFlow and Context as Memory quote, typed in a second time."""


def test_figures_that_others_quote_have_tables_of_their_own_without_our_arms(
    grid: Path, tmp_path: Path
) -> None:
    shutil.copytree(grid, other := tmp_path / "mine")
    comparison = compare_runs([other], beside="others")
    found = {key: comparison.table(key) for key in comparison.makers if key.startswith("paper-")}
    assert {key.removeprefix("paper-others-"): _figures(table) for key, table in found.items()} == QUOTED
    ours = {arm.name for arm in comparison.gathered.arms}
    for table in found.values():
        assert table in comparison.shown
        assert {line.kind for line in table.lines} == {"quoted"}
        assert not ours & {line.name for line in table.lines}
        assert {line.order for line in table.lines} == {"quoted"}
        assert table.heads[1] == "status"
        assert all(column.better is None for column in table.columns)
        assert not any(cell.best or cell.tie for line in table.lines for cell in line.cells)
    arxiv = ("2509.22622", "2510.09212", "2512.14699", "2506.03141")
    for number, length, table in zip(arxiv, ("30 s", "250 s", "60 s", ""), found.values(), strict=True):
        assert f"arXiv {number}" in table.notes[0]
        assert length in table.title
    assert not any(line.kind == "quoted" for key in ("drift-world",) for line in comparison.table(key).lines)
    assert "81.95" in to_markdown(found["paper-others-longlive"])
    assert "0.4757" in to_markdown(found["paper-others-context_as_memory"])


def _figures(table: Table) -> dict[str, dict[str, float]]:
    heads = [column.key for column in table.columns]
    return {
        line.name: dict(zip(heads, [cell.value for cell in line.cells], strict=True)) for line in table.lines
    }
