"""Terminal output of tables."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console
from rich.measure import Measurement, measure_renderables
from rich.table import Table as RichTable
from rich.text import Text

from fp_lab.lab.tables.table import FULL_NAME, TIE, Cell, Column, Table, cell_text, number

_NAME = 16
"""Narrowest width of a column of names, which wrap."""
_AROUND = 3  # padding and rule of a column
_NO_LIMIT = 100_000


def to_text(table: Table, *, intervals: bool = False) -> str:
    """Write aligned text that fits a terminal: arms by their label, ``*`` behind the best.

    Args:
        table: table with any number of columns.
        intervals: whether to write half of the interval's width beside every value, and the second column of
            text.
    """
    rows = [["", *(f"{_head(column)} " for column in table.columns)]]
    for line in table.lines:
        shown = [(c, cell) for c, cell in zip(table.columns, line.cells, strict=True)]
        marks = ["*" if cell.best else TIE if cell.tie else " " for _, cell in shown]
        values = [number(cell.value, column.digits) for column, cell in shown]
        name = line.title
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


def to_rich(table: Table, *, bold: bool = True) -> RichTable:
    """Convert to a table of rich's; names and heads may wrap, values do not.

    Args:
        table: table with any number of columns.
        bold: whether to show the best of a column in bold; otherwise as Markdown writes it.
    """
    shown = RichTable(
        title=table.title, title_justify="left", caption="\n".join(table.footnotes), caption_justify="left"
    )
    shown.add_column(table.heads[0], overflow="fold", min_width=_NAME)
    shown.add_column(table.heads[1], min_width=_order_width(table))
    for index, column in enumerate(table.columns):
        shown.add_column(_head(column), justify="right", min_width=_column_width(table, index))
    if table.named:
        shown.add_column(FULL_NAME, overflow="fold", min_width=_NAME, style="dim")
    for line in table.lines:
        name = Text(line.title, style="dim" if line.kind == "floor" else "")
        name.append(line.marks, style="yellow")
        cells = []
        for column, cell in zip(table.columns, line.cells, strict=True):
            text = _figure(table, column, cell)
            text = f"**{text}**" if cell.best and not bold else text
            cells.append(Text(text, style="bold green" if cell.best else ""))
        shown.add_row(name, line.order, *cells, *([line.full_name] if table.named else []))
    return shown


def print_table(console: Console, table: Table) -> None:
    """Print a table with all of its columns, followed by an empty line.

    Without a terminal, lines are as long as needed. In a terminal that is too narrow for all columns, the
    table goes on below, with the names again.
    """
    bold = console.color_system is not None
    whole = to_rich(table, bold=bold)
    measured = _measured(console, whole)
    if not console.is_terminal or _total(measured) <= console.width:
        _print_measured(console, whole, measured)
        console.print()
        return
    for part in _parts(table, console.width):
        shown = to_rich(part, bold=bold)
        for column in shown.columns[1:]:
            column.width = column.min_width  # otherwise rich narrows all columns alike, not the names
        print_whole(console, shown)
        console.print()


def print_whole(console: Console, table: RichTable) -> None:
    """Print a table of rich's, which by itself drops columns and cuts words that do not fit.

    Without a terminal, lines are as long as needed. In a terminal words wrap; in one that is narrower than
    the longest words, lines are longer than it.
    """
    _print_measured(console, table, _measured(console, table))


def _print_measured(console: Console, table: RichTable, measured: Sequence[Measurement]) -> None:
    wanted = _total(measured)
    if console.is_terminal and wanted > console.width:
        for column, (least, _) in zip(table.columns, measured, strict=True):
            column.min_width = least
        needed = 1 + sum(least + _AROUND for least, _ in measured)
        table.width = min(wanted, max(needed, console.width))
    else:
        for column, (_, most) in zip(table.columns, measured, strict=True):
            column.no_wrap = column.width is None and column.max_width is None  # nothing is left to wrap
            column.width = most  # else rich measures every cell again, several times
        table.width = wanted
    console.print(table, crop=False)


def _measured(console: Console, table: RichTable) -> list[Measurement]:
    """Lengths in characters of each column's longest word (or its least width) and longest line."""
    options = console.options.update(max_width=_NO_LIMIT)
    found = []
    for column in table.columns:
        if column.width is not None:
            found.append(Measurement(column.width, column.width))
            continue
        words, whole = measure_renderables(console, options, [column.header, *column.cells])
        least = column.min_width or words
        most = max(whole, least) if column.max_width is None else min(max(whole, least), column.max_width)
        found.append(Measurement(least, most))
    return found


def _total(measured: Sequence[Measurement]) -> int:
    """Width of a table without wrapped lines."""
    return 1 + sum(most + _AROUND for _, most in measured)


def _parts(table: Table, width: int) -> Iterator[Table]:
    """Split a table into parts that fit a width, of at least one column each; notes go into the last."""
    names = 2 if table.named else 1  # labels, full names
    room = width - 1 - names * (_NAME + _AROUND) - (_order_width(table) + _AROUND)
    begin, used = 0, 0
    for index in range(len(table.columns)):
        used += (needed := _column_width(table, index) + _AROUND)
        if used > room and index > begin:
            yield _columns(table, begin, index, notes=())
            begin, used = index, needed
    yield _columns(table, begin, len(table.columns), notes=table.notes)


def _columns(table: Table, begin: int, end: int, notes: Sequence[str]) -> Table:
    lines = tuple(replace(line, cells=line.cells[begin:end]) for line in table.lines)
    return replace(table, columns=table.columns[begin:end], lines=lines, notes=tuple(notes))


def _order_width(table: Table) -> int:
    return max(len(text) for text in (table.heads[1], *(line.order for line in table.lines)))


def _column_width(table: Table, index: int) -> int:
    """Length of the longest value or word of the head, in characters; neither is broken."""
    column = table.columns[index]
    marked = [(_figure(table, column, line.cells[index]), line.cells[index].best) for line in table.lines]
    figures = (f"**{text}**" if best else text for text, best in marked)
    return max(map(len, (*_head(column).split(), *figures)))


def _head(column: Column) -> str:
    return f"{column.title} {column.arrow}".strip()


def _figure(table: Table, column: Column, cell: Cell) -> str:
    return cell_text(table, column, cell) + (f" {TIE}" if cell.tie else "") + cell.stars
