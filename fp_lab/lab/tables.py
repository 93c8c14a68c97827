"""Tables of figures, and how they are written: Markdown, HTML, CSV, terminal."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

from rich.table import Table as RichTable
from rich.text import Text

UNDEFINED = "–"
TIE = "="
"""Written behind a figure that cannot be told from the best of its column."""
_TEXT = 2  # columns of text before the figures


@dataclass(frozen=True)
class Cell:
    """One figure.

    Attributes:
        value: NaN where undefined.
        low: of its interval; NaN without one.
        high: of its interval.
        extra: a second figure as text, such as the signed mean; shown in the place of the interval.
        best: whether it is the best of its column.
        tie: whether it cannot be told from the best.
        reason: why it is undefined.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    extra: str = ""
    best: bool = False
    tie: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Column:
    """A column of figures, all of one estimator.

    Attributes:
        key: name in CSV files.
        title: name for people.
        subtitle: the estimator, or the unit.
        better: which direction is better; None where neither is.
        digits: decimals.
    """

    key: str
    title: str
    subtitle: str = ""
    better: Literal["higher", "lower"] | None = None
    digits: int = 3

    @property
    def arrow(self) -> str:
        """The direction that is better."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        name: the arm's notation, or what the row is.
        label: the same in plain words; empty where the name says it.
        order: of generation; empty for the ground truth.
        cells: one per column.
        kind: an arm, the positive control, or the ground truth.
    """

    name: str
    label: str
    order: str
    cells: tuple[Cell, ...]
    kind: Literal["arm", "control", "floor"] = "arm"


@dataclass(frozen=True)
class Table:
    """A table of one family.

    Attributes:
        key: short name, for files and anchors.
        title: heading.
        columns: of figures.
        lines: rows.
        notes: below it.
        heads: over the two columns of text, a line's name and its order.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    heads: tuple[str, str] = ("arm", "order")
    reasons: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Number the reasons of undefined cells."""
        for line in self.lines:
            for cell in line.cells:
                if cell.reason and math.isnan(cell.value):
                    self.reasons.setdefault(cell.reason, len(self.reasons) + 1)

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Notes, then the reasons of undefined cells by their number."""
        return (*self.notes, *(f"[{number}] undefined: {reason}" for reason, number in self.reasons.items()))


def number(value: float, digits: int) -> str:
    """A figure as text: thousands separated, a true minus sign, a dash where undefined."""
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else UNDEFINED


def half_width(cell: Cell, digits: int) -> str:
    """Half of the interval's width as text; empty without an interval."""
    width = (cell.high - cell.low) / 2
    return f"±{number(width, digits)}" if math.isfinite(width) else ""


def cell_text(table: Table, column: Column, cell: Cell) -> str:
    """One figure with its interval and extras, without marks of rank."""
    if math.isnan(cell.value):
        return f"{UNDEFINED} [{table.reasons[cell.reason]}]" if cell.reason in table.reasons else UNDEFINED
    return f"{number(cell.value, column.digits)} {beside(column, cell)}".strip()


def beside(column: Column, cell: Cell) -> str:
    """What is written beside a figure: its second figure, else half of its interval's width."""
    return cell.extra or half_width(cell, column.digits)


def to_markdown(table: Table) -> str:
    """A pipe table; the best of a column is bold, ties carry `TIE`, the control is named."""
    heads = [*table.heads, *(f"{c.title} {c.arrow}".strip() for c in table.columns)]
    rows = [heads]
    for line in table.lines:
        cells = []
        for column, cell in zip(table.columns, line.cells, strict=True):
            text = cell_text(table, column, cell)
            cells.append(f"**{text}**" if cell.best else f"{text} {TIE}" if cell.tie else text)
        name = f"`{line.name}`" if line.kind != "floor" else f"*{line.name}*"
        rows.append([f"{name} (control)" if line.kind == "control" else name, line.order, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    rule = [f":{'-' * (w - 1)}" if i < _TEXT else f"{'-' * (w - 1)}:" for i, w in enumerate(widths)]
    lines = [f"| {' | '.join(_padded(row, widths))} |" for row in (rows[0], rule, *rows[1:])]
    subtitles = "; ".join(f"{c.title}: {c.subtitle}" for c in table.columns if c.subtitle)
    notes = [note for note in (subtitles, *table.footnotes) if note]
    return "\n".join([f"### {table.title}", "", *lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [t.ljust(w) if i < _TEXT else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))]


def to_html(table: Table) -> str:
    """A <table> with classes for style sheets; intervals are in the cells, bounds in their titles."""
    heads = "".join(
        f'<th scope="col">{escape(c.title)} <span class="arrow">{c.arrow}</span>'
        f"<small>{escape(c.subtitle)}</small></th>"
        for c in table.columns
    )
    texts = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    body = "\n".join(_html_line(table, line) for line in table.lines)
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.footnotes)
    return (
        f'<figure class="table" id="{escape(table.key)}"><figcaption>{escape(table.title)}</figcaption>'
        f'<div class="scroll"><table><thead><tr>{texts}{heads}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + "</figure>"
    )


def _html_line(table: Table, line: Line) -> str:
    cells = []
    for column, cell in zip(table.columns, line.cells, strict=True):
        marks = " ".join(name for name, on in (("best", cell.best), ("tie", cell.tie)) if on)
        if math.isnan(cell.value):
            mark = f"<sup>{table.reasons[cell.reason]}</sup>" if cell.reason in table.reasons else ""
            cells.append(f'<td class="undefined" title="{escape(cell.reason)}">{UNDEFINED}{mark}</td>')
            continue
        title = ""
        if math.isfinite(cell.low):
            low, high = number(cell.low, column.digits), number(cell.high, column.digits)
            title = f' title="95 % interval {low} to {high}"'
        small = beside(column, cell)
        tie = f'<span class="sign">{TIE}</span>' if cell.tie else ""
        value = f"<span>{number(cell.value, column.digits)}</span>{tie}"
        cells.append(f'<td class="{marks}"{title}>{value}<small>{escape(small)}</small></td>')
    badge = ' <span class="badge">control</span>' if line.kind == "control" else ""
    name = f"<code>{escape(line.name)}</code>" if line.kind != "floor" else escape(line.name)
    label = f"<small>{escape(line.label)}</small>" if line.label else ""
    head = f'<th scope="row">{name}{badge}{label}</th><td class="order">{escape(line.order)}</td>'
    return f'<tr class="{line.kind}">{head}{"".join(cells)}</tr>'


def to_csv(tables: Sequence[Table]) -> str:
    """All tables side by side, one row per arm, machine-readable: values, bounds, rank marks."""
    first, second = tables[0].heads
    heads = [first, "label", second, "kind"]
    rows: dict[str, list[str]] = {}
    for table in tables:
        for line in table.lines:
            rows.setdefault(line.name, [line.name, line.label, line.order, line.kind])
    for table in tables:
        cells = {line.name: line.cells for line in table.lines}
        for index, column in enumerate(table.columns):
            key = f"{table.key}.{column.key}"
            heads += [key, f"{key}.low", f"{key}.high", f"{key}.mark", f"{key}.reason"]
            for name, row in rows.items():
                row += _csv_cell(cells[name][index] if name in cells else Cell(math.nan))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *rows.values()])
    return text.getvalue()


def _csv_cell(cell: Cell) -> list[str]:
    numbers = [repr(float(v)) if math.isfinite(v) else "" for v in (cell.value, cell.low, cell.high)]
    return [
        *numbers,
        "best" if cell.best else "tie" if cell.tie else "",
        cell.reason if math.isnan(cell.value) else "",
    ]


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
        if line.kind == "control":
            name.append(" (control)", style="yellow")
        cells = []
        for column, cell in zip(table.columns, line.cells, strict=True):
            text = cell_text(table, column, cell) + (f" {TIE}" if cell.tie else "")
            cells.append(Text(text, style="bold green" if cell.best else ""))
        shown.add_row(name, line.order, *cells)
    return shown
