"""Table of tracked runs: one metric against the step, the best step of each run, and its ties."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import pandas as pd

from fp_lab.lab.checkpoints.afterwards import Tracked, TrackedRun
from fp_lab.lab.checkpoints.best import Best, Goal, better_direction, frozen_steps, goal_panel
from fp_lab.lab.tables import Cell, Column, Line, Table, number
from fp_metrics.intervals import LEAST_CLUSTERS

_MOST_STEPS = 8  # columns
_SIGNIFICANT = 3  # digits of the largest figure


def steps_table(tracked: Tracked, goal: Goal) -> Table:
    """Build a table of a goal's metric of every run at up to eight steps, evenly spaced, with the best ones.

    The best step of a run is marked, and so are steps not significantly different from it.

    Raises:
        ValueError: the goal was not measured.
    """
    bests = [run.best(goal) for run in tracked.runs]
    steps = _shown(
        sorted({int(step) for run in tracked.runs for step in run.table["step"]}),
        {best.step for best in bests if best is not None},
    )
    better: Literal["higher", "lower"] | None
    better = {True: "higher", False: "lower", None: None}[better_direction(tracked.runs[0].videos, goal)]
    cells = [_cells(run, goal, steps, best) for run, best in zip(tracked.runs, bests, strict=True)]
    digits = _digits(cell.value for row in cells for cell in row)
    columns = tuple(Column(str(step), f"step {step}", "", better, digits) for step in steps)
    lines = tuple(
        Line(run.label, "", run.config.parsed_recipe.order, row)
        for run, row in zip(tracked.runs, cells, strict=True)
    )
    what = "mean |d|" if goal.drift else _unit(tracked.runs[0], goal)
    title = f"{goal} ({what}) against the training step"
    key = f"track-{goal.family}-{goal.score}"
    return Table(key, title, columns, lines, _notes(tracked, goal), ("run", "order"))


def _cells(run: TrackedRun, goal: Goal, steps: Sequence[int], best: Best | None) -> tuple[Cell, ...]:
    figures = goal_panel(run.videos, goal).intervals
    cells = []
    for step in steps:
        if str(step) not in figures:
            cells.append(Cell(math.nan, reason="no scores of this step"))
            continue
        found = figures[str(step)]
        first, ties = (best.step, best.ties) if best is not None else (None, ())
        cells.append(Cell(found.mean, found.low, found.high, best=step == first, tie=step in ties))
    return tuple(cells)


def best_lines(tracked: Tracked, goal: Goal) -> list[str]:
    """Describe the best checkpoint of every run, with the folder of its weights."""
    return [_best_line(run, goal) for run in tracked.runs]


def _best_line(run: TrackedRun, goal: Goal) -> str:
    best, who = run.best(goal), run.label
    if best is None:
        return f"{who}: {goal} is undefined at every step"
    figure = f"{goal} {number(best.figure.mean, _digits([best.figure.mean]))}"
    told = f"{who}: best at step {best.step}, {figure}"
    steps = sorted({int(step) for step in run.table["step"]})
    if len(best.ties) == len(steps) - 1 and best.ties:
        told += "; no other step differs significantly from it"
    elif best.ties:
        told += f"; not significantly different: step {', '.join(map(str, sorted(best.ties)))}"
    return f"{told} (of {len(steps)} steps)"


def _notes(tracked: Tracked, goal: Goal) -> tuple[str, ...]:
    videos = min(int(run.table["videos"].min()) for run in tracked.runs)
    notes = [
        f"{videos} videos, the same ones at every step; a step ties with the best where the 95 % interval of "
        "their difference, video by video, holds 0. The best of many steps looks better than it is."
    ]
    if not all(_rows(run, goal)["reliable"].all() for run in tracked.runs):
        notes.append(f"Fewer than {LEAST_CLUSTERS} prompts: intervals and ties are unreliable.")
    for run in tracked.runs:
        if still := frozen_steps(run.videos):
            listed = ", ".join(map(str, still))
            notes.append(f"{run.label}: most videos are frozen at step {listed}, and do not drift as such.")
        if run.missing:
            notes.append(f"{run.label}: no scores of step {', '.join(map(str, run.missing))}.")
    return tuple(notes)


def _shown(steps: Sequence[int], wanted: set[int]) -> list[int]:
    """Pick a limited number of steps, evenly spaced from first to last, with the wanted ones."""
    last = len(steps) - 1
    count = min(len(steps), max(2, _MOST_STEPS - len(wanted)))
    even = {steps[round(index * last / max(1, count - 1))] for index in range(count)}
    return sorted(even | wanted)


def _unit(run: TrackedRun, goal: Goal) -> str:
    return str(_rows(run, goal)["unit"].iloc[0])


def _rows(run: TrackedRun, goal: Goal) -> pd.DataFrame:
    return run.table[(run.table["family"] == goal.family) & (run.table["score"] == goal.score)]


def _digits(values: Iterable[float]) -> int:
    """Decimals that show the largest value to three digits."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 0 if largest == 0 else max(0, _SIGNIFICANT - 1 - math.floor(math.log10(largest)))
