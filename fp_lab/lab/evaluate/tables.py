"""Tables of folders of videos: scores and drift, file by file, and the means of each group."""

from collections.abc import Iterable, Mapping

import pandas as pd

from fp_lab.lab.compare.arm_tables import mean_cells
from fp_lab.lab.compare.paired_values import Panels, Statistic
from fp_lab.lab.evaluate.results import HISTORY, Results
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_lab.lab.tables.glossary import ARROWS, score_title
from fp_metrics import Estimator
from fp_metrics.intervals import LEAST_CLUSTERS

FIGURES: tuple[Statistic, ...] = ("value", "drift_size", "drift")
"""Statistics of folders of videos."""


def folder_tables(kinds: Mapping[str, type[Estimator]], results: Results) -> tuple[Table, Table]:
    """Build tables of scores, then drift; one row per file, then the means of each group with intervals."""
    families = "-".join(dict.fromkeys(kind.family for kind in kinds.values()))
    scores, drift = [], []
    for name, rows in results.videos.groupby("file", sort=False):
        group = str(rows["group"].iloc[0])
        scores.append(Line(str(name), "", group, _cells(rows, kinds, "value", "reason")))
        drift.append(Line(str(name), "", group, _cells(rows, kinds, "drift", "drift_reason")))
    means = _means(results, kinds)
    for group in results.groups:
        of, flag = f" of {group}" if len(results.groups) > 1 else "", results.frozen(group)
        value, size, signed = zip(*(means[name, group] for name in kinds), strict=True)
        scores.append(Line(f"mean{of}", "", group, value, "floor", flag))
        drift.append(Line(f"mean |d|{of}", "", group, size, "floor", flag))
        drift.append(Line(f"mean d{of}", "", group, signed, "floor", flag))
    rule = "d = score of the last 15 % of the frames less that of the first 15 %, each scored alone."
    heads, note = ("file", "group"), interval_note(results)
    return (
        Table(f"score-{families}", "Scores", columns(kinds, signed=False), tuple(scores), (note,), heads),
        Table(f"drift-{families}", "Drift", columns(kinds, signed=True), tuple(drift), (rule, note), heads),
    )


def interval_note(results: Results) -> str:
    """Explain the intervals, and whether they are reliable."""
    warning = "." if results.reliable else f"; with fewer than {LEAST_CLUSTERS} prompts it is unreliable."
    return f"± is half of a 95 % interval (BCa bootstrap over prompts){warning}"


def summary_table(group: str, kinds: Mapping[str, type[Estimator]], results: Results) -> Table:
    """Build a table with one row per estimator: its mean over a group's videos, and its drift."""
    lines = []
    means = _means(results, kinds)
    for name, kind in kinds.items():
        coverage = results.groups[group]["estimators"][name][HISTORY]["coverage"]
        title = score_title(kind.score) + ARROWS[kind.higher_is_better]
        lines.append(Line(name.partition("/")[2], "", title, (*means[name, group], Cell(coverage))))
    shown = (
        Column("mean", "mean"),
        Column("drift", "drift mean |d|", better="lower"),
        Column("signed", "drift mean d"),
        Column("defined", "defined", digits=2),
    )
    count = results.groups[group]["flags"][HISTORY]["videos"]
    families = ", ".join(dict.fromkeys(kind.family for kind in kinds.values()))
    still = (f"{frozen}: what does not move does not drift.",) if (frozen := results.frozen(group)) else ()
    title = f"{group}: {count} video{'s' if count > 1 else ''}, family {families}"
    notes = (interval_note(results), *still)
    return Table(f"summary-{group}", title, shown, tuple(lines), notes, ("estimator", "score"))


def columns(kinds: Mapping[str, type[Estimator]], *, signed: bool) -> tuple[Column, ...]:
    """Make one column per estimator, named by its score where that is unique."""
    scores = [kind.score for kind in kinds.values()]
    made = []
    for name, kind in kinds.items():
        short = name.partition("/")[2]
        title = score_title(kind.score)
        title += "" if scores.count(kind.score) == 1 else f" {short}"
        key = kind.score if scores.index(kind.score) == list(kinds).index(name) else name.replace("/", "-")
        better = {True: "higher", False: "lower", None: None}[None if signed else kind.higher_is_better]
        made.append(Column(key, title, name, better))  # type: ignore[arg-type]
    return tuple(made)


def _cells(
    rows: pd.DataFrame, kinds: Mapping[str, type[Estimator]], figure: str, reason: str
) -> tuple[Cell, ...]:
    found = {str(row["estimator"]): row for row in rows.to_dict("records")}
    cells = []
    for name in kinds:
        why = found[name][reason]
        cells.append(Cell(float(found[name][figure]), reason="" if pd.isna(why) else str(why)))
    return tuple(cells)


def _means(results: Results, names: Iterable[str]) -> dict[tuple[str, str], tuple[Cell, Cell, Cell]]:
    """Means of score, drift size and drift by estimator and group: groups are averaged as arms are."""
    made = {}
    for group, rows in results.videos.groupby("group", sort=False):
        panels = Panels(rows.assign(arm=group, training_seed=0).reset_index(drop=True))
        for name in names:
            value, size, signed = (mean_cells(panels, name, figure)[str(group)] for figure in FIGURES)
            made[name, str(group)] = value, size, signed
    return made
