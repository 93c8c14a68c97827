"""Tables of metrics and their output as Markdown, LaTeX, HTML, CSV and terminal text."""

from fp_lab.lab.tables.csv import to_csv
from fp_lab.lab.tables.html import to_html
from fp_lab.lab.tables.latex import to_latex
from fp_lab.lab.tables.rich import print_table, print_whole, to_rich, to_text
from fp_lab.lab.tables.table import (
    STARS,
    TIE,
    UNDEFINED,
    Cell,
    Column,
    Line,
    Table,
    beside,
    cell_text,
    half_width,
    number,
    to_markdown,
)

__all__ = [
    "STARS",
    "TIE",
    "UNDEFINED",
    "Cell",
    "Column",
    "Line",
    "Table",
    "beside",
    "cell_text",
    "half_width",
    "number",
    "print_table",
    "print_whole",
    "to_csv",
    "to_html",
    "to_latex",
    "to_markdown",
    "to_rich",
    "to_text",
]
