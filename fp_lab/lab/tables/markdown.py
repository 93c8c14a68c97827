"""Tables as Markdown."""

from collections.abc import Sequence

from fp_lab.lab.tables.table import FULL_NAME, TIE, Table, cell_text

_TEXT = 2  # columns of text before the figures


def to_markdown(table: Table) -> str:
    """A pipe table; the best of a column is bold, ties carry `TIE`, the control is named."""
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
