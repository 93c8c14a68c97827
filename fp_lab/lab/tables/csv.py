"""CSV output of tables."""

import csv
import io
import math
from collections.abc import Sequence

from fp_lab.lab.tables.table import Cell, Table


def to_csv(tables: Sequence[Table]) -> str:
    """Write all tables side by side, one row per arm, machine-readable: values, bounds, marks, p-values."""
    first, second = tables[0].heads
    heads = [first, "label", second, "kind"]
    rows: dict[str, list[str]] = {}
    for table in tables:
        for line in table.lines:
            texts = [_csv_text(text) for text in (line.name, line.label, line.order, line.kind)]
            rows.setdefault(line.name, texts)
    for table in tables:
        cells = {line.name: line.cells for line in table.lines}
        for index, column in enumerate(table.columns):
            key = f"{table.key}.{column.key}"
            heads += [key, f"{key}.low", f"{key}.high", f"{key}.mark", f"{key}.reason", f"{key}.p"]
            for name, row in rows.items():
                row += _csv_cell(cells[name][index] if name in cells else Cell(math.nan))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *rows.values()])
    return text.getvalue()


def _csv_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv_cell(cell: Cell) -> list[str]:
    numbers = [repr(float(v)) if math.isfinite(v) else "" for v in (cell.value, cell.low, cell.high)]
    return [
        *numbers,
        "best" if cell.best else "tie" if cell.tie else "",
        cell.reason if math.isnan(cell.value) else "",
        repr(float(cell.p)) if math.isfinite(cell.p) else "",
    ]
