"""Figures that other papers give of FramePack: tables of their own, each with its paper and protocol."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import yaml

from fp_lab.lab.compare.paper_values import PaperRow
from fp_lab.lab.files.experiments import experiments_folder
from fp_lab.lab.tables import Cell, Column, Line, Table

OTHERS = "others"
"""Name of all of these tables for `fp-lab compare --paper`."""
QUOTED_FILE = "reference/quoted_tables.yaml"
_UNKNOWN = Cell(math.nan, reason="the figure is not known here")


@dataclass(frozen=True)
class QuotedTable:
    """Figures of one paper.

    Attributes:
        key: short name, such as ``longlive``.
        paper: title and table.
        arxiv: number at arXiv; None where it is not known.
        protocol: benchmark and length of the videos.
        status: origin of the figures, such as ``quoted``.
        columns: figure -> unit.
        rows: FramePack and the methods beside it.
    """

    key: str
    paper: str
    arxiv: str | None
    protocol: str
    status: str
    columns: Mapping[str, str]
    rows: tuple[PaperRow, ...]


@lru_cache
def quoted_tables() -> tuple[QuotedTable, ...]:
    """Read the reference file that comes with fp_lab."""
    told = yaml.safe_load((experiments_folder() / QUOTED_FILE).read_text(encoding="utf-8"))
    return tuple(
        QuotedTable(
            key,
            table["paper"],
            table.get("arxiv"),
            table["protocol"],
            table["status"],
            table["columns"],
            tuple(
                PaperRow(
                    row["name"],
                    {name: float(row[name]) for name in table["columns"] if name in row},
                    table["status"],
                )
                for row in table["rows"]
            ),
        )
        for key, table in told.items()
    )


def quoted_table(quoted: QuotedTable) -> Table:
    """Build the table of one paper's figures; nothing is ranked, and no arm of ours is among the rows."""
    columns = tuple(
        Column(name, name.replace("_", " "), unit, digits=_digits(quoted.rows, name))
        for name, unit in quoted.columns.items()
    )
    lines = tuple(
        Line(row.name, "", row.status, tuple(_cell(row, name) for name in quoted.columns), "quoted")
        for row in quoted.rows
    )
    at = "" if quoted.arxiv is None else f" (arXiv {quoted.arxiv})"
    note = (
        f"{quoted.paper}{at}, by its own protocol: {quoted.protocol}. Other models, videos and measures than "
        "those of the tables above: neither figures nor ranks compare. Status: quoted = by readers of the "
        "paper, not checked against it."
    )
    title = f"Quoted of FramePack by others: {quoted.paper}, {quoted.protocol}"
    return Table(f"paper-{OTHERS}-{quoted.key}", title, columns, lines, (note,), ("method", "status"))


def _cell(row: PaperRow, name: str) -> Cell:
    return Cell(row.figures[name]) if name in row.figures else _UNKNOWN


def _digits(rows: tuple[PaperRow, ...], name: str) -> int:
    """Decimals that show every figure of a column as it was published."""
    texts = [repr(row.figures[name]) for row in rows if name in row.figures]
    return max((len(text.partition(".")[2]) for text in texts), default=0)
