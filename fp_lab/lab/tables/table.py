"""Tables of metrics as data: cells with intervals and marks, columns, lines, notes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

UNDEFINED = "–"
TIE = "="
"""Mark behind a value that is not significantly different from the best of its column."""
STARS = (0.05, 0.01, 0.001)
"""Adjusted p-values below which a value gets one, two and three stars."""
FULL_NAME = "full name"
"""Head of the last column in tables whose first column has labels."""


_TEXT = 2  # columns of text before the figures of Markdown


@dataclass(frozen=True)
class Cell:
    """One value of a table.

    Attributes:
        value: mean or measurement; NaN where undefined.
        low: lower bound of the interval; NaN without one.
        high: upper bound of the interval; NaN without one.
        extra: second value as text, such as the signed mean; shown in place of the interval.
        best: whether the value is the best of its column.
        tie: whether the value is not significantly different from the best.
        reason: reason why the value is undefined.
        p: adjusted p-value of the difference to the reference arm; NaN where there is none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    extra: str = ""
    best: bool = False
    tie: bool = False
    reason: str = ""
    p: float = math.nan

    @property
    def stars(self) -> str:
        """Number of stars: 1, 2 or 3 for a difference to the reference arm at 5, 1 or 0.1 %."""
        return "*" * sum(self.p < level for level in STARS)


@dataclass(frozen=True)
class Column:
    """A column of values, all of one estimator.

    Attributes:
        key: name in CSV files.
        title: readable name.
        subtitle: estimator or unit.
        better: direction that is better; None where neither is.
        digits: number of decimals.
    """

    key: str
    title: str
    subtitle: str = ""
    better: Literal["higher", "lower"] | None = None
    digits: int = 3

    @property
    def arrow(self) -> str:
        """Arrow in the direction that is better."""
        return {"higher": "↑", "lower": "↓", None: ""}[self.better]


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        name: notation of the arm, or other name of the row.
        label: name in plain words; empty where the name says it.
        order: generation order; empty for the ground truth.
        cells: one cell per column.
        kind: arm, positive control, ground truth, or a method whose figures are quoted.
        flag: warning about the whole row, such as ``frozen: 2 of 2 videos``; shown behind the title.
    """

    name: str
    label: str
    order: str
    cells: tuple[Cell, ...]
    kind: Literal["arm", "control", "floor", "quoted"] = "arm"
    flag: str = ""

    @property
    def title(self) -> str:
        """Label where there is one, else the name."""
        return self.label if self.label and self.kind != "floor" else self.name

    @property
    def full_name(self) -> str:
        """Name, where the title differs from it."""
        return "" if self.title == self.name else self.name

    @property
    def marks(self) -> str:
        """Text in brackets behind the name; empty for an ordinary arm."""
        told = [*(["control"] if self.kind == "control" else []), *([self.flag] if self.flag else [])]
        return f" ({', '.join(told)})" if told else ""


@dataclass(frozen=True)
class Table:
    """A table of one family.

    Attributes:
        key: short name, for files and anchors.
        title: heading of the table.
        columns: columns of values.
        lines: rows of the table.
        notes: notes below the table.
        heads: heads of the two text columns, a row's name and order.
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
    def named(self) -> bool:
        """Whether some row has a full name beside its title."""
        return any(line.full_name for line in self.lines)

    @property
    def footnotes(self) -> tuple[str, ...]:
        """Notes, then the reasons of undefined cells by their number."""
        return (*self.notes, *(f"[{number}] undefined: {reason}" for reason, number in self.reasons.items()))

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """Return the representations for notebooks and interactive terminals."""
        text = to_markdown(self)
        return {"text/markdown": text, "text/plain": text}


def number(value: float, digits: int) -> str:
    """Format a number: thousands separated, a true minus sign, a dash where undefined."""
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else UNDEFINED


def half_width(cell: Cell, digits: int) -> str:
    """Format half of the interval's width; empty without an interval."""
    width = (cell.high - cell.low) / 2
    return f"±{number(width, digits)}" if math.isfinite(width) else ""


def cell_text(table: Table, column: Column, cell: Cell) -> str:
    """Format one value with its interval and extras, without marks of rank."""
    if math.isnan(cell.value):
        return f"{UNDEFINED} [{table.reasons[cell.reason]}]" if cell.reason in table.reasons else UNDEFINED
    return f"{number(cell.value, column.digits)} {beside(column, cell)}".strip()


def beside(column: Column, cell: Cell) -> str:
    """Text beside a value: its second value, else half of its interval's width."""
    return cell.extra or half_width(cell, column.digits)


def to_markdown(table: Table) -> str:
    """Write a pipe table; the best of a column is bold, ties carry `TIE`, the control is named."""
    heads = [*table.heads, *(f"{c.title} {c.arrow}".strip() for c in table.columns)]
    heads += [FULL_NAME] if table.named else []
    rows = [heads]
    for line in table.lines:
        cells = []
        for column, cell in zip(table.columns, line.cells, strict=True):
            text = cell_text(table, column, cell)
            text = f"**{text}**" if cell.best else f"{text} {TIE}" if cell.tie else text
            cells.append(text + cell.stars.replace("*", r"\*"))
        title = f"*{line.name}*" if line.kind == "floor" else line.label or f"`{line.name}`"
        full = [f"`{line.full_name}`" if line.full_name else ""] if table.named else []
        title, full = title.replace("|", r"\|"), [name.replace("|", r"\|") for name in full]
        rows.append([title + line.marks, line.order, *cells, *full])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    left = [i < _TEXT or heads[i] == FULL_NAME for i in range(len(heads))]
    rule = [f":{'-' * (w - 1)}" if at else f"{'-' * (w - 1)}:" for at, w in zip(left, widths, strict=True)]
    lines = [f"| {' | '.join(_padded(row, widths, left))} |" for row in (rows[0], rule, *rows[1:])]
    subtitles = "; ".join(f"{c.title}: {c.subtitle}" for c in table.columns if c.subtitle)
    notes = [note for note in (subtitles, *table.footnotes) if note]
    return "\n".join([f"### {table.title}", "", *lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def _padded(row: Sequence[str], widths: Sequence[int], left: Sequence[bool]) -> list[str]:
    return [t.ljust(w) if at else t.rjust(w) for t, w, at in zip(row, widths, left, strict=True)]
