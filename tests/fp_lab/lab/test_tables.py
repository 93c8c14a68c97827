"""How tables are written: LaTeX that nothing in a name can break, stars, the same marks everywhere."""

import csv
import io
import re

import pytest

from fp_lab.lab.tables import Cell, Column, Line, Table, to_csv, to_html, to_latex, to_markdown, to_text
from fp_lab.lab.tables.latex import escaped

NAN = float("nan")


@pytest.fixture
def table() -> Table:
    lines = (
        Line(
            "td_f1k1_g9+D&{50%}",
            "",
            "vanilla",
            (Cell(1.25, 1.0, 1.5, best=True, p=0.0004), Cell(NAN, reason="no #1")),
        ),
        Line("g9", "", "none", (Cell(-1.5, tie=True, p=0.02), Cell(2.0, p=0.3)), "control"),
        Line("ground truth", "", "", (Cell(0.5), Cell(1.0)), "floor"),
    )
    return Table(
        "t", "A_B", (Column("x", "x", "est/x_y", "lower", 2), Column("y", "y")), lines, ("50 % ± 1",)
    )


def test_latex_is_a_booktabs_table_with_escaped_text(table: Table) -> None:
    text = to_latex(table)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llrr}", r"\caption{A\_B}"):
        assert rule in text
    assert r"\texttt{td\_f1k1\_g9+D\&\{50\%\}}" in text
    assert r"x $\downarrow$" in text
    assert r"\textbf{1.25 $\pm$0.25}$^{***}$" in text
    assert r"$-$1.50$^{=*}$" in text
    assert r"\texttt{g9} (control)" in text
    assert r"50 \% $\pm$ 1" in text
    assert r"[1] undefined: no \#1" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    rows = [row for row in body.splitlines() if row.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [3, 3, 3]


def test_every_special_character_is_escaped_once() -> None:
    assert escaped(r"\_$") == r"\textbackslash{}\_\$"
    assert escaped("a~b^c") == r"a\textasciitilde{}b\textasciicircum{}c"


def test_stars_stand_for_adjusted_p_values_in_every_format(table: Table) -> None:
    assert [cell.stars for line in table.lines for cell in line.cells] == ["***", "", "*", "", "", ""]
    assert r"**1.25 ±0.25**\*\*\*" in to_markdown(table)
    assert "<sup>***</sup>" in to_html(table)
    rows = list(csv.DictReader(io.StringIO(to_csv([table]))))
    assert [row["t.x.p"] for row in rows] == ["0.0004", "0.02", ""]
    assert rows[0]["t.x.mark"] == "best"


def test_a_notebook_shows_markdown_and_a_terminal_text(table: Table) -> None:
    shown = table._repr_mimebundle_()
    assert shown == {"text/markdown": to_markdown(table), "text/plain": to_text(table)}
    assert "**1.25" in shown["text/markdown"]
    assert "1.25" in shown["text/plain"]
