"""How tables are written: LaTeX that nothing in a name can break, stars, the same marks everywhere."""

import csv
import io
import re

import pytest
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from fp_lab.lab.tables import (
    Cell,
    Column,
    Line,
    Table,
    print_table,
    print_whole,
    to_csv,
    to_html,
    to_latex,
    to_markdown,
    to_rich,
)
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
    assert shown == {"text/markdown": to_markdown(table), "text/plain": to_markdown(table)}
    assert "**1.25" in shown["text/markdown"]
    assert "1.25" in shown["text/plain"]


@pytest.mark.parametrize("width", [1, 40, 80, 200])
@pytest.mark.parametrize("terminal", [False, True])
def test_no_column_is_lost_whatever_the_width(width: int, *, terminal: bool) -> None:
    """Twelve figures of twelve digits: more than 80 characters."""
    columns = tuple(Column(f"c{i}", f"head{i} words", digits=2) for i in range(12))
    figures = [f"{123_456_789_000 + i:,}.25" for i in range(12)]
    cells = tuple(Cell(123_456_789_000 + i + 0.25) for i in range(12))
    names = ("td_f16k4f2k2f1k1_g9", "f1k1_x_g9_f1k1f2k2f16k4_td")
    lines = tuple(Line(name, "", "inverted", cells) for name in names)
    table = Table("t", "Wide", columns, lines, ("what it is measured on",))
    console = Console(width=width, force_terminal=terminal, color_system=None)
    with console.capture() as captured:
        print_table(console, table)
    shown = captured.get()
    assert "…" not in shown
    for text in (*figures, *(column.title.split()[0] for column in columns)):
        assert len(re.findall(rf"\b{re.escape(text)}\b", shown)) >= (2 if "," in text else 1)
    letters = re.sub(r"[^a-z]", "", shown)
    assert "whatitismeasuredon" in letters
    if not terminal:
        rows = [row for row in shown.splitlines() if figures[0] in row]
        assert all(name in row and figures[-1] in row for name, row in zip(names, rows, strict=True))
    elif width >= 40:
        assert max(map(len, shown.splitlines())) <= max(width, 53), "a column of names and one of figures"


@pytest.mark.parametrize("terminal", [False, True])
def test_any_table_of_words_is_printed_whole(*, terminal: bool) -> None:
    words = [f"word{i}" for i in range(30)]
    table = RichTable(*words)
    table.add_column("narrow", max_width=12, overflow="fold")
    table.add_row(*(word.upper() for word in words), "several words go on below")
    console = Console(width=40, force_terminal=terminal, color_system=None)
    with console.capture() as captured:
        print_whole(console, table)
    shown = re.split(r"\W+", captured.get())
    assert set(shown) >= {*words, *(word.upper() for word in words), "several", "below"}


@pytest.mark.parametrize("terminal", [False, True])
def test_a_table_that_fits_is_as_rich_lays_it_out_and_cells_are_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    def cell(value: float, *, best: bool) -> Cell:
        return Cell(value, value - 0.25, value + 0.25, best=best)

    columns = tuple(Column(f"c{i}", f"head{i} of words", digits=2) for i in range(3))
    names = ("犬 名前", "a name of many words", "td_f16k4f2k2f1k1_g9", "g9")
    lines = tuple(
        Line(name, "", "inverted", tuple(cell(10.0**i, best=i == 1) for i in range(3))) for name in names
    )
    table = Table("t", "Some title", columns, lines, ("one note", "another note"))
    console = Console(width=500, force_terminal=terminal, color_system=None)
    with console.capture() as expected:
        console.print(to_rich(table, bold=False))
    measured = []
    real = Text.__rich_measure__
    monkeypatch.setattr(
        Text, "__rich_measure__", lambda text, *of: (measured.append(text), real(text, *of))[1]
    )
    with console.capture() as captured:
        print_table(console, table)
    assert captured.get() == expected.get() + "\n"
    assert len(measured) <= 2 * (2 + len(columns)), "heads alone, whatever the number of rows"


def test_the_best_is_marked_where_there_are_no_colours(table: Table) -> None:
    console = Console(width=40, color_system=None)
    with console.capture() as captured:
        print_table(console, table)
    assert "**1.25 ±0.25*****" in captured.get(), "and three stars"


def test_a_label_is_met_first_and_the_full_name_stands_behind() -> None:
    lines = (
        Line("td_f1k1_g9", "vanilla · f1k1", "vanilla", (Cell(1.0),)),
        Line("ground truth", "true videos", "", (Cell(0.5),), "floor"),
    )
    table = Table("t", "T", (Column("x", "x"),), lines)
    heads, _, row, floor = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in to_markdown(table).splitlines()
        if line.startswith("|")
    ]
    assert (heads[0], heads[-1]) == ("arm", "full name")
    assert (row[0], row[-1]) == ("vanilla · f1k1", "`td_f1k1_g9`")
    assert floor[0] == "*ground truth*"
    assert re.search(r"vanilla · f1k1.*<small><code>td_f1k1_g9</code></small>", to_html(table))
    assert r"vanilla $\cdot$ f1k1 & vanilla" in to_latex(table)
    assert r"\texttt{td\_f1k1\_g9} \\" in to_latex(table)
    text = io.StringIO()
    Console(width=100, file=text).print(to_rich(table))
    (shown,) = [line for line in text.getvalue().splitlines() if "td_f1k1_g9" in line]
    assert shown.index("vanilla · f1k1") < shown.index("1.000") < shown.index("td_f1k1_g9")
