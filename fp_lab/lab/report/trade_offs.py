"""Scatter plots of a report: quality against cost, forgetting against drift."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from fp_lab.lab.compare.comparison import Comparison
from fp_lab.lab.compare.forgetting import ArmForgetting, as_interval, gather_forgetting
from fp_lab.lab.report.document import Picture, pictures_html
from fp_lab.lab.report.plots.forgetting_curves import MOST_BANDS, draw_forgetting
from fp_lab.lab.report.plots.scatter import Axis, Point, scatter
from fp_lab.lab.report.plots.style import Look
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_lab.lab.tables.glossary import HISTORIES, HISTORIES_IN_FULL

_QUALITIES = ("clarity", "motion", "semantic", "anatomy", "identity", "psnr")


def quality_and_cost(comparison: Comparison, arms_looks: Mapping[str, Look], folder: Path) -> list[Picture]:
    """Plot scores against the operations of training; none where these were not recorded."""
    cost = next(table for table in comparison.tables if table.key == "cost")
    compute = {line.name: _cell(cost, line, "training_tflop") for line in cost.lines}
    panels, axes = [], []
    for table, column in _quality_columns(comparison):
        lines = [line for line in table.lines if line.kind != "floor"]
        panels.append([_point(line, compute[line.name], _cell(table, line, column.key)) for line in lines])
        better: Literal["less", "more"] = "less" if column.better == "lower" else "more"
        axes.append((Axis("training compute, TFLOP", "less"), Axis(column.title, better)))
    if not any(point.defined for points in panels for point in points):
        return []
    title = f"Quality against cost of the training, {HISTORIES_IN_FULL['own']}"
    path = scatter(panels, axes, arms_looks, folder / "quality-cost.png", title)
    caption = (
        f"Quality against cost, {HISTORIES['own']}: one point per arm with the 95 % interval of its score. "
        "Good and cheap is to the left, on the better side."
    )
    return [Picture(path, "quality against cost", caption)]


def _quality_columns(comparison: Comparison) -> Iterator[tuple[Table, Column]]:
    """Scores of video quality: of the first family, and against the true continuation."""
    tables = {table.key: table for table in comparison.tables}
    for key in (f"score-{comparison.gathered.families[0]}", "score-companion"):
        for column in tables[key].columns if key in tables else ():
            if column.key in _QUALITIES and column.better is not None:
                yield tables[key], column


def _point(line: Line, x: Cell, y: Cell) -> Point:
    return Point(line.name, line.label or line.name, as_interval(x), as_interval(y))


def _cell(table: Table, line: Line, key: str) -> Cell:
    return line.cells[[column.key for column in table.columns].index(key)]


def forgetting(comparison: Comparison, arms_looks: Mapping[str, Look], folder: Path) -> dict[str, str]:
    """Render the section on forgetting, where something is hidden and returns."""
    found = gather_forgetting(comparison.gathered)
    if not found:
        return {}
    return {"Forgetting": pictures_html(forgetting_pictures(comparison, found, arms_looks, folder))}


def forgetting_pictures(
    comparison: Comparison, found: Sequence[ArmForgetting], arms_looks: Mapping[str, Look], folder: Path
) -> list[Picture]:
    """Plot returns against frames hidden, and forgetting against drift, where there is something to show.

    Args:
        comparison: comparison of the arms.
        found: forgetting of the arms.
        arms_looks: colours and markers by arm.
        folder: folder of the pictures.
    """
    gathered, pictures = comparison.gathered, []
    drift = comparison.table(f"drift-{gathered.families[0]}")
    place = next((i for i, column in enumerate(drift.columns) if column.key == "identity"), 0)
    score, sizes = (
        drift.columns[place].title,
        {line.name: as_interval(line.cells[place]) for line in drift.lines},
    )
    labels = {arm.name: arm.label for arm in gathered.arms}
    if any(one.videos for arm in found for summary in arm.kinds.values() for one in summary.bins):
        path = draw_forgetting(gathered, found, arms_looks, folder / "forgetting-gap.png")
        bands = ", 95 % bands" if len(found) <= MOST_BANDS else ""
        caption = (
            f"What comes back into view against the number of frames that it was hidden{bands}: higher "
            "remembers more; where a line falls, the reach of that arm's context ends. In brackets the "
            "context tokens that this memory takes."
        )
        pictures.append(
            Picture(path, "what comes back against the number of frames that it was hidden", caption)
        )
    for kind in ("object", "place"):
        points = [
            Point(arm.name, labels[arm.name], sizes[arm.name], arm.kinds["own", kind].forgotten)
            for arm in found
            if arm.name in labels and ("own", kind) in arm.kinds
        ]
        if any(point.defined for point in points):
            path = folder / f"forgetting-{kind}.png"
            axes = Axis(f"drift of {score}, mean |d|", "less"), Axis(f"forgetting of the {kind}", "less")
            title = f"Forgetting of the {kind} against drift, {HISTORIES_IN_FULL['own']}"
            scatter([points], [axes], arms_looks, path, title)
            caption = (
                f"Forgetting of the {kind} against drift in {score}, one point per arm with 95 % intervals: "
                "the lower left corner is where neither happens."
            )
            pictures.append(Picture(path, f"forgetting of the {kind} against drift", caption))
    return pictures
