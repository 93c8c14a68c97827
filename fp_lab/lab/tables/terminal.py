"""Tables for a terminal."""

from rich.table import Table as RichTable
from rich.text import Text

from fp_lab.lab.tables.model import TIE, Table, cell_text, number


def to_text(table: Table, *, intervals: bool = False) -> str:
    """Aligned text that fits a terminal: arms by their label, ``*`` behind the best.

    Args:
        table: with any number of columns.
        intervals: write half of its width beside every figure, and the second column of text.
    """
    rows = [["", *(f"{c.title} {c.arrow}".strip() + " " for c in table.columns)]]
    for line in table.lines:
        shown = [(c, cell) for c, cell in zip(table.columns, line.cells, strict=True)]
        marks = ["*" if cell.best else TIE if cell.tie else " " for _, cell in shown]
        values = [number(cell.value, column.digits) for column, cell in shown]
        name = line.label if line.label and line.kind != "floor" else line.name
        name += f" ({line.flag})" if line.flag else ""
        if intervals:
            values = [cell_text(table, column, cell) for column, cell in shown]
            name = f"{line.order:<{max(len(line.order) for line in table.lines)}}  {name}"
        rows.append([name, *(value + mark for value, mark in zip(values, marks, strict=True))])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        row[0].ljust(widths[0]) + "".join(f"  {t:>{w}}" for t, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    return "\n".join([table.title, *(line.rstrip() for line in lines)]) + "\n"


def to_rich(table: Table) -> RichTable:
    """For a terminal."""
    shown = RichTable(
        title=table.title, title_justify="left", caption="\n".join(table.footnotes), caption_justify="left"
    )
    shown.add_column(table.heads[0], overflow="fold", min_width=16)
    shown.add_column(table.heads[1])
    for column in table.columns:
        shown.add_column(f"{column.title} {column.arrow}".strip(), justify="right")
    for line in table.lines:
        name = Text(line.name, style="dim" if line.kind == "floor" else "")
        name.append(line.marks, style="yellow")
        cells = []
        for column, cell in zip(table.columns, line.cells, strict=True):
            text = cell_text(table, column, cell) + (f" {TIE}" if cell.tie else "") + cell.stars
            cells.append(Text(text, style="bold green" if cell.best else ""))
        shown.add_row(name, line.order, *cells)
    return shown
