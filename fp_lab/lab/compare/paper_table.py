"""The paper's values beside ours, column by column, with their rank correlation."""

import math
from collections.abc import Sequence

from fp_lab.lab.compare.arm_tables import TableInputs
from fp_lab.lab.compare.paper_values import PaperRow, PaperTable, paper
from fp_lab.lab.tables import Cell, Column, Line, Table, number

_LEAST_RANKED = 3
_UNKNOWN = Cell(math.nan, reason="the paper's figure is not known here")


def paper_table(inputs: TableInputs, table: PaperTable) -> Table:
    """Build a table of the arms that the paper names, with our values and the paper's in separate columns.

    Our values are of the family ``paper`` where measured, else of the first family.
    """
    gathered = inputs.gathered
    family = "paper" if "paper" in gathered.families else gathered.families[0]
    estimators = gathered.estimators(family)
    named = {row.name: row for row in table.rows}
    arms = [arm for arm in gathered.arms if arm.name in named]
    rows = [named[arm.name] for arm in arms]
    columns: list[Column] = []
    cells: list[list[Cell]] = []
    notes: list[str] = []
    for figure in table.figures:
        if not any(figure in row.figures for row in rows):
            continue
        score, drifts = figure.removeprefix("drift_"), figure.startswith("drift_")
        words = figure.replace("_", " ")
        theirs = [Cell(row.figures[figure]) if figure in row.figures else _UNKNOWN for row in rows]
        if score in estimators:
            estimator = estimators[score]
            found = inputs.intervals(estimator, "drift_size" if drifts else "value")
            ours = [found[arm.name] for arm in arms]
            columns.append(Column(f"ours_{figure}", f"ours: {words}", estimator, "lower" if drifts else None))
            cells.append(ours)
            turned = not drifts and gathered.measures[estimator].higher_is_better is False
            notes += _correlation(words, ours, theirs, turned=turned)
        columns.append(Column(f"paper_{figure}", f"paper: {words} ({_status(rows, figure)})", digits=2))
        cells.append(theirs)
    lines = [
        Line(arm.name, arm.label if arm.label != arm.name else "", arm.recipe.order, own)
        for arm, own in zip(arms, zip(*cells, strict=True), strict=True)
    ]
    missing = [row.name for row in table.rows if row.name not in {arm.name for arm in arms}]
    further = [arm.name for arm in gathered.arms if arm.name not in named]
    notes += [f"In the paper's table, not among these runs: {', '.join(missing)}."] if missing else []
    notes += [f"Among these runs, not in the paper's table: {', '.join(further)}."] if further else []
    notes.append(
        f"The paper: {paper().source}; drift in percent. Other model, videos and estimators: compare the "
        f"order of arms, never a figure of ours with one of the paper's. Ours: family {family}. "
        "Status: text = stated in its text, quoted = by readers of its tables, not checked against it."
    )
    title = f"Beside the paper's {table.key.replace('table', 'Table ')}"
    return Table(f"paper-{table.key}", title, tuple(columns), tuple(lines), tuple(notes))


def _status(rows: Sequence[PaperRow], figure: str) -> str:
    return " or ".join(sorted({row.status for row in rows if figure in row.figures}))


def _correlation(words: str, ours: Sequence[Cell], theirs: Sequence[Cell], *, turned: bool) -> list[str]:
    """Describe Kendall's tau-b of both orders, where both sides have at least three values."""
    from scipy.stats import kendalltau

    pairs = [
        (-own.value if turned else own.value, other.value)
        for own, other in zip(ours, theirs, strict=True)
        if math.isfinite(own.value) and math.isfinite(other.value)
    ]
    if len(pairs) < _LEAST_RANKED:
        return []
    found = kendalltau(*zip(*pairs, strict=True))
    tau, p = float(found.statistic), float(found.pvalue)
    if not math.isfinite(tau):
        return [f"Order in {words}: undefined, all figures of one side are equal (n = {len(pairs)})."]
    return [f"Order in {words}: Kendall's tau-b {number(tau, 2)}, p = {p:.2g}, n = {len(pairs)} arms."]
