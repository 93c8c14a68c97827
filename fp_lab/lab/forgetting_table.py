"""What arms forget of objects and places, summed up for the report."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fp_lab.lab.arm_tables import DRAWS
from fp_lab.lab.forgotten import FORGETTING_FILE
from fp_lab.lab.gathered import Gathered
from fp_lab.lab.summary import NOISE_FLOOR
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_metrics import Interval
from fp_metrics.forgetting import Forgetting, ForgettingSummary, summarise_forgetting
from fp_metrics.returning import Kind, Return

KINDS: tuple[Kind, ...] = ("object", "place")


@dataclass(frozen=True)
class ArmForgetting:
    """What an arm forgets of objects and of places."""

    name: str
    kinds: Mapping[Kind, ForgettingSummary]


def gather_forgetting(gathered: Gathered) -> tuple[ArmForgetting, ...]:
    """The arms whose runs have kept what came back, then the ground truth; empty where none has."""
    found = [(arm.name, arm.seeds, arm.folders, "own") for arm in gathered.arms]
    found.append((NOISE_FLOOR, (0,) * len(gathered.truths), gathered.truths, NOISE_FLOOR))
    arms = []
    for name, trainings, folders, history in found:
        videos: list[Forgetting] = []
        prompts: list[str] = []
        seeds: list[int] = []
        for training, folder in zip(trainings, folders, strict=True):
            path = folder / "scores" / FORGETTING_FILE
            if path.is_file():
                content = json.loads(path.read_text(encoding="utf-8"))
                videos += [_read(rows) for rows in content["histories"][history]]
                prompts += content["clusters"]
                seeds += [training] * len(content["clusters"])
        if videos:
            kinds = {k: summarise_forgetting(videos, k, clusters=prompts, seeds=seeds) for k in KINDS}
            arms.append(ArmForgetting(name, kinds))
    return tuple(arms)


def _read(rows: Sequence[Mapping[str, Any]]) -> Forgetting:
    figures = ("agreement", "psnr")  # NaN is null in JSON
    known = [dict(row) | {f: math.nan for f in figures if row[f] is None} for row in rows]
    return Forgetting(tuple(Return(**row) for row in known))


def forgetting_table(gathered: Gathered, arms: Sequence[ArmForgetting]) -> Table:
    """Agreement of what came back with how it last looked, and how much less that is than of what stayed."""
    labels = {arm.name: arm for arm in gathered.arms}
    columns, lines = [], []
    for kind in KINDS:
        columns.append(Column(f"{kind}_agreement", f"{kind} came back", "agreement, [0, 1]", "higher"))
        columns.append(Column(f"{kind}_forgotten", f"{kind} forgotten", "stayed less came back", "lower"))
    for found in arms:
        cells = []
        for kind in KINDS:
            summary = found.kinds[kind]
            why = next(iter(summary.reasons), "")
            cells += [_cell(summary.agreement, why), _cell(summary.forgotten, why)]
        arm = labels.get(found.name)
        if arm is None:
            lines.append(Line("ground truth", "", "", tuple(cells), "floor"))
        else:
            control = "control" if arm.control else "arm"
            lines.append(Line(arm.name, arm.label, arm.recipe.order, tuple(cells), control))  # type: ignore[arg-type]
    note = f"Compared with how the same video last showed it, whatever the truth is; 95 % intervals {DRAWS}."
    return Table("forgetting", "Forgetting", tuple(columns), tuple(lines), (note,))


def as_interval(cell: Cell) -> Interval:
    """A table's figure as a point with its interval."""
    return Interval(cell.value, cell.low, cell.high, 0.95, 0, reliable=True)


def _cell(value: Interval, reason: str) -> Cell:
    return Cell(value.mean, value.low, value.high, reason=reason)
