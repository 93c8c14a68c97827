"""Forgetting of objects and places by arms, summarised for the report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.results.resampling_units import ResamplingUnits
from fp_lab.lab.scoring.files import NOISE_FLOOR
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_lab.lab.tables.glossary import HISTORIES, RETURNS
from fp_metrics import Interval
from fp_metrics.returns import Forgetting, ForgettingSummary, Kind, Return, summarise_forgetting

Remembered = tuple[str, Kind]
"""History, ``own`` or ``true``, and kind of returns in videos generated from it."""

KINDS: tuple[Remembered, ...] = (
    *(("own", "object"), ("own", "place")),
    *(("own", "recall"), ("own", "told"), ("true", "recall"), ("true", "told")),
)
"""All shown combinations; for true history only kinds compared with the truth."""


@dataclass(frozen=True)
class ArmForgetting:
    """Forgetting and recall of an arm, for those of `KINDS` that its world has."""

    name: str
    kinds: Mapping[Remembered, ForgettingSummary]


def gather_forgetting(gathered: Gathered) -> tuple[ArmForgetting, ...]:
    """Summarise arms whose runs have stored returns, then the ground truth; empty where none has."""
    told = kinds_of(gathered)
    return tuple(
        ArmForgetting(
            name,
            {
                (history, kind): _summary(runs, history, kind, gathered.basis)
                for history, kind in KINDS
                if kind in told
            },
        )
        for name, runs in gathered.returned.items()
    )


def kinds_of(gathered: Gathered) -> set[Kind]:
    """Kinds of returns in the videos of any arm."""
    return {
        row["kind"]
        for runs in gathered.returned.values()
        for _, content in runs
        for videos in content["histories"].values()
        for video in videos
        for row in video
    }


def _summary(
    runs: Sequence[tuple[int, Mapping[str, Any]]], history: str, kind: Kind, basis: ResamplingUnits
) -> ForgettingSummary:
    histories = [content["histories"] for _, content in runs]  # the true videos have one
    videos = [read_forgetting(rows) for own in histories for rows in own.get(NOISE_FLOOR, own.get(history))]
    prompts = [prompt for _, content in runs for prompt in content["clusters"]]
    seeds = [training for training, content in runs for _ in content["clusters"]]
    return summarise_forgetting(videos, kind, clusters=prompts, seeds=seeds if basis.over_seeds else None)


def read_forgetting(rows: Sequence[Mapping[str, Any]]) -> Forgetting:
    """Parse what came back in one video, as stored in ``forgetting.json``."""
    figures = ("agreement", "psnr")  # NaN is null in JSON
    known = [dict(row) | {f: math.nan for f in figures if row[f] is None} for row in rows]
    return Forgetting(tuple(Return(**row) for row in known))


def forgetting_table(gathered: Gathered, arms: Sequence[ArmForgetting]) -> Table:
    """Build the table of the agreement of returns with last look or truth, and its loss against the rest."""
    labels = {arm.name: arm for arm in gathered.arms}
    shown = [(kinds, *column) for kinds in arms[0].kinds for column in _columns(*kinds)]
    lines = []
    for found in arms:
        cells = []
        for kinds, figure, _ in shown:
            summary = found.kinds[kinds]
            cells.append(_cell(getattr(summary, figure), next(iter(summary.reasons), "")))
        arm = labels.get(found.name)
        if arm is None:
            lines.append(Line("ground truth", "", "", tuple(cells), "floor"))
        else:
            control = "control" if arm.control else "arm"
            lines.append(Line(arm.name, arm.label, arm.recipe.order, tuple(cells), control))  # type: ignore[arg-type]
    note = (
        "What came back is compared with how the same video last showed it, whatever the truth is; recall "
        "and restored objects: with the truth, where it was shown truly before (restored: a small network "
        "reads an object's shape, colour and texture, all three right). Generated history is the rollout, "
        f"true history is teacher forcing. 95 % intervals {gathered.basis.draws}."
    )
    title = "Memory: what comes back into view after it was hidden"
    return Table("forgetting", title, tuple(column for *_, column in shown), tuple(lines), (note,))


def _columns(history: str, kind: Kind) -> list[tuple[str, Column]]:
    """Columns of returns, each with the entry of the summary that it shows."""
    if kind == "recall":
        title, unit = f"recall, {HISTORIES[history]}", RETURNS[kind].meaning
        return [("psnr", Column(f"{history}_recall", title, unit, "higher", 1))]
    if kind == "told":
        title = f"objects restored, {HISTORIES[history]}"
        return [("agreement", Column(f"{history}_told", title, RETURNS[kind].meaning, "higher"))]
    came_back = Column(f"{kind}_agreement", f"{kind} came back", RETURNS[kind].meaning, "higher")
    unit = "stayed in view less came back"
    forgotten = Column(f"{kind}_forgotten", f"{kind} forgotten", unit, "lower")
    return [("agreement", came_back), ("forgotten", forgotten)]


def as_interval(cell: Cell) -> Interval:
    """Convert a cell to a point with its interval."""
    return Interval(cell.value, cell.low, cell.high, 0.95, 0, reliable=True)


def _cell(value: Interval, reason: str) -> Cell:
    return Cell(value.mean, value.low, value.high, reason=reason)
