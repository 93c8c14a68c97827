"""Tables as Markdown."""

from collections.abc import Sequence

from fp_lab.lab.tables.model import TIE, Table, cell_text

_TEXT = 2  # columns of text before the figures


def to_markdown(table: Table) -> str:
    """A pipe table; the best of a column is bold, ties carry `TIE`, the control is named."""
    heads = [*table.heads, *(f"{c.title} {c.arrow}".strip() for c in table.columns)]
    rows = [heads]
    for line in table.lines:
        cells = []
        for column, cell in zip(table.columns, line.cells, strict=True):
            text = cell_text(table, column, cell)
            text = f"**{text}**" if cell.best else f"{text} {TIE}" if cell.tie else text
            cells.append(text + cell.stars.replace("*", r"\*"))
        name = f"`{line.name}`" if line.kind != "floor" else f"*{line.name}*"
        name = name.replace("|", r"\|")
        rows.append([name + line.marks, line.order, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    rule = [f":{'-' * (w - 1)}" if i < _TEXT else f"{'-' * (w - 1)}:" for i, w in enumerate(widths)]
    lines = [f"| {' | '.join(_padded(row, widths))} |" for row in (rows[0], rule, *rows[1:])]
    subtitles = "; ".join(f"{c.title}: {c.subtitle}" for c in table.columns if c.subtitle)
    notes = [note for note in (subtitles, *table.footnotes) if note]
    return "\n".join([f"### {table.title}", "", *lines, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [t.ljust(w) if i < _TEXT else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))]
