"""HTML output of tables."""

import math
from html import escape

from fp_lab.lab.files.names import visible
from fp_lab.lab.tables.table import TIE, UNDEFINED, Line, Table, beside, number


def to_html(table: Table) -> str:
    """Write a <table> with classes for style sheets; intervals are in cells, bounds in their titles."""
    heads = "".join(
        f'<th scope="col">{escape(c.title)} <span class="arrow">{c.arrow}</span>'
        f"<small>{escape(c.subtitle)}</small></th>"
        for c in table.columns
    )
    texts = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    body = "\n".join(_html_line(table, line) for line in table.lines)
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.footnotes)
    return visible(
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
        stars = f"<sup>{cell.stars}</sup>" if cell.stars else ""
        value = f"<span>{number(cell.value, column.digits)}</span>{tie}{stars}"
        cells.append(f'<td class="{marks}"{title}>{value}<small>{escape(small)}</small></td>')
    badges = (*(["control"] if line.kind == "control" else []), *([line.flag] if line.flag else []))
    badge = "".join(f' <span class="badge">{escape(text)}</span>' for text in badges)
    title = (
        escape(line.title) if line.full_name or line.kind == "floor" else f"<code>{escape(line.name)}</code>"
    )
    below = f"<code>{escape(line.full_name)}</code>" if line.full_name else escape(line.label)
    small = f"<small>{below}</small>" if line.label else ""
    head = f'<th scope="row">{title}{badge}{small}</th><td class="order">{escape(line.order)}</td>'
    return f'<tr class="{line.kind}">{head}{"".join(cells)}</tr>'
