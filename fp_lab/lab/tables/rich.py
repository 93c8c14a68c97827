"""Terminal output of tables."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from fp_lab.lab.tables.table import FULL_NAME, TIE, Cell, Column, Table, cell_text, number

_NAME = 16
"""Narrowest width of a column of names, which wrap."""
_AROUND = 3  # padding and rule of a column


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
        shown.add_row(name, Text(line.order), *cells, *([Text(line.full_name)] if table.named else []))
    return shown


def print_table(console: Console, table: Table) -> None:
    """Print a table with all of its columns, followed by an empty line.

    Without a terminal, lines are as long as needed. In a terminal that is too narrow for all columns, the
    table goes on below, with the names again.
    """
    bold = console.color_system is not None
    whole = to_rich(table, bold=bold)
    measured = _measured(whole)
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
    _print_measured(console, table, _measured(table))


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
        wraps = not all(column.no_wrap for column in table.columns)
        if console.color_system is None and not wraps and not table.show_lines:
            console.print(_Uncoloured(table), crop=False)
            return
    console.print(table, crop=False)


@dataclass(frozen=True)
class _Uncoloured:
    """A table without colours and wrapped lines: rich draws all but its rows, which take it long."""

    table: RichTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        frame = copy(self.table)
        frame.columns, frame.rows = [], []
        for column in self.table.columns:
            frame.add_column(column.header, justify=column.justify, width=column.width, no_wrap=True)
        assert frame.box is not None
        box = frame.box.substitute(options, safe=console.safe_box)
        end = box.get_bottom([(column.width or 0) + 2 for column in frame.columns])
        for line in Segment.split_lines(console.render(frame, options)):
            if "".join(segment.text for segment in line) == end:
                for row in zip(*map(_padded_cells, self.table.columns), strict=True):
                    yield Segment(f"{box.mid_left} {f' {box.mid_vertical} '.join(row)} {box.mid_right}\n")
            yield from (*line, Segment.line())


def _padded_cells(column: RichColumn) -> Iterator[str]:
    for cell in column.cells:
        text = _plain(cell)
        space = " " * ((column.width or 0) - cell_len(text))
        yield space + text if column.justify == "right" else text + space


def _plain(cell: RenderableType) -> str:
    """Text of a cell without its styles."""
    assert isinstance(cell, str | Text)
    return Text.from_markup(cell).plain if isinstance(cell, str) else cell.plain


def _measured(table: RichTable) -> list[Measurement]:
    """Lengths in characters of each column's longest word (or its least width) and longest line."""
    found = []
    for column in table.columns:
        if column.width is not None:
            found.append(Measurement(column.width, column.width))
            continue
        lines = [line for cell in (column.header, *column.cells) for line in _plain(cell).splitlines()]
        whole = max(map(cell_len, lines), default=0)
        words = max((cell_len(word) for line in lines for word in line.split()), default=whole)
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
