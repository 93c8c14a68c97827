"""Names and texts from outside steer neither terminal, picture nor spreadsheet."""

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from matplotlib.figure import Figure
from rich.table import Table as RichTable
from typer.testing import CliRunner

from fp_lab.cli import app
from fp_lab.cli.console import Console
from fp_lab.lab.files.names import visible
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.progress import GridProgress
from fp_lab.lab.report.plots.style import paper, save
from fp_lab.lab.runtime.progress import LOG
from fp_lab.lab.runtime.reporter import Step
from fp_lab.lab.tables import to_csv
from fp_lab.lab.tables.table import Cell, Column, Line, Table
from fp_lab.lab.tracking import TrackedRun

NAME = "a\x1b[2J\x07\x9b31m\u202egnp.mp4\r"


def test_control_characters_are_seen_not_obeyed() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200)
    table = RichTable("name")
    table.add_row(NAME)
    console.print(NAME, markup=False, highlight=False)
    console.print(table)
    console.print("red", style="red")
    shown = out.getvalue()
    assert shown.count(r"a\x1b[2J") == 2
    assert "\x1b[31mred" in shown, "colours of the console's own stay"
    for character in ("\x1b[2J", "\x07", "\x9b", "\u202e", "\r"):
        assert character not in shown
    assert visible("犬 é\n\ttab \udce9") == "犬 é\n\ttab \\udce9"


def test_errors_show_control_characters_too(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(tmp_path / NAME), "--family", "plain"])
    assert done.exit_code == 2
    assert r"\x1b[2J" in done.output
    assert "\x1b[2J" not in done.output


@pytest.mark.parametrize("text", [r"$\nonsense{$", "from $5 to $6", r"a $x_$ b"])
def test_a_dollar_in_a_picture_is_a_dollar(tmp_path: Path, text: str) -> None:
    with paper():
        figure = Figure(figsize=(2, 1))
        drawn = figure.text(0, 0, text)
        save(figure, tmp_path / "dollar.png")
    assert not drawn.get_parse_math()


@pytest.mark.parametrize("name", ["=1+1", "+cmd", "-2", "@SUM(A1)", "\tx"])
def test_a_name_is_no_formula_of_a_spreadsheet(name: str) -> None:
    line = Line(name, name, "vanilla", (Cell(-0.5),))
    table = Table("key", "title", (Column("score", "score", "", "higher"),), (line,))
    _, row = csv.reader(io.StringIO(to_csv([table])))
    assert row[:2] == [f"'{name}", f"'{name}"]
    assert math.isclose(float(row[4]), -0.5), "numbers are numbers"


def test_a_label_that_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text('arms: [{recipe: g9, label: "a\\eb"}]\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"label: got 'a\\x1bb', expected .*\bprinted"):
        load_grid(tmp_path / "grid.yaml")


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = list(LOG.handlers)
    yield
    for handler in set(LOG.handlers) - set(before):
        LOG.removeHandler(handler)
        handler.close()


@pytest.mark.usefixtures("_handlers")
def test_a_log_has_lines_stages_steps_and_errors_each_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "lab.log"
    failed = CliRunner().invoke(app, ["--log", str(file), "grid", "nowhere"])
    assert failed.exit_code == 2
    with GridProgress(Console(), 1) as bars:
        arm = bars.arm("g9 seed 0", create_autospec(TrackedRun, instance=True))
        arm.begin("train", 2)
        arm.trained(Step(1, 0.25, 1e-3, 0.5))
        arm.say("a line\nwith \x1b[31mcolour")
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (ERROR|INFO|DEBUG) ", line) for line in lines)
    error, begun, step, said = lines
    assert "ERROR" in error
    assert "nowhere" in error
    assert "g9 seed 0: train" in begun
    assert "DEBUG g9 seed 0: step 1, loss 0.25000" in step
    assert "\x1b" not in said
    assert "colour" in said
