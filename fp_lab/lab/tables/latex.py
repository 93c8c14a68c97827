"""LaTeX output of tables, for the package booktabs."""

import math

from fp_lab.lab.files.names import visible
from fp_lab.lab.tables.table import FULL_NAME, TIE, Column, Line, Table, cell_text

_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}"}
    | {"±": r"$\pm$", "−": "$-$", "–": "--", "∞": r"$\infty$", "×": r"$\times$", "·": r"$\cdot$"}
    | {"“": "``", "”": "''", "≤": r"$\leq$", "≥": r"$\geq$", "τ": r"$\tau$", "²": "$^2$"}
)
_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", None: ""}


def escaped(text: str) -> str:
    """Escape TeX commands, characters that TeX refuses, and ends of paragraphs."""
    return " ".join(visible(text).split("\n")).translate(_ESCAPES)


def to_latex(table: Table) -> str:
    r"""Write a floating table: the best in bold, ties and stars raised, notes below.

    The document needs ``\usepackage{booktabs}``; everything else is plain LaTeX.
    """
    heads = [*map(escaped, table.heads), *(_head(column) for column in table.columns)]
    heads += [FULL_NAME] if table.named else []
    rows = [_row(table, line) for line in table.lines]
    subtitles = "; ".join(f"{c.title}: {c.subtitle}" for c in table.columns if c.subtitle)
    notes = [escaped(note) for note in (subtitles, *table.footnotes) if note]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\label{{tab:{table.key}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}{'l' * table.named}}}",
            r"\toprule",
            f"{' & '.join(heads)} \\\\",
            r"\midrule",
            *(f"{row} \\\\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip{{\footnotesize {note}\par}}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _head(column: Column) -> str:
    return escaped(column.title) + _ARROWS[column.better]


def _row(table: Table, line: Line) -> str:
    title = escaped(line.label) or _code(line.name)
    title = title if line.kind != "floor" else rf"\emph{{{escaped(line.name)}}}"
    cells = [title + escaped(line.marks), escaped(line.order)]
    for column, cell in zip(table.columns, line.cells, strict=True):
        text = escaped(cell_text(table, column, cell))
        raised = (TIE if cell.tie else "") + cell.stars
        text = rf"\textbf{{{text}}}" if cell.best and not math.isnan(cell.value) else text
        cells.append(f"{text}$^{{{raised}}}$" if raised else text)
    full = [_code(line.full_name) if line.full_name else ""] if table.named else []
    return " & ".join([*cells, *full])


def _code(name: str) -> str:
    return rf"\texttt{{{escaped(name)}}}"
