"""What a grid would do: its arms, what is done, and what the rest will cost."""

import math
from collections.abc import Sequence

from rich.table import Table

from fp_lab.lab.arm import Job
from fp_lab.lab.estimate import Cost
from fp_lab.lab.grid import Grid
from fp_lab.lab.stages import RunFolder

_MINUTE, _HOUR = 60, 3600


def plan_table(grid: Grid, jobs: Sequence[Job], costs: Sequence[Cost], workers: int = 1) -> Table:
    """One row per arm; `done`, or the seconds that a stage will take.

    Args:
        grid: the arms.
        jobs: the same as jobs.
        costs: of the jobs.
        workers: arms at once, by which the whole is divided.
    """
    known = [cost.total for cost in costs if not math.isnan(cost.total)]
    total, unknown = sum(known), len(costs) - len(known)
    whole = "Nothing is left to do."
    if unknown:
        whole = (
            f"{unknown} runs are over a transformer of diffusers and were not timed: `fp-lab plan` says what "
            "they cost."
        )
    elif total:
        whole = (
            f"About {duration(total / workers)} in all: one training step and one video's scores were timed, "
            "the rest is in proportion to floating-point operations."
        )
    title = f"Grid {grid.name}: {len(jobs)} runs in {jobs[0].folder.parents[1]}"
    table = Table(title=title, title_justify="left", caption=whole, caption_justify="left")
    for column in ("arm", "seed", "order", *jobs[0].stages):
        table.add_column(column, overflow="fold")
    for arm, job, cost in zip(grid.arms, jobs, costs, strict=True):
        failed = RunFolder(job.folder).failure(job.key) is not None
        marks = [
            "done" if stage not in job.pending else "failed" if failed else duration(getattr(cost, stage))
            for stage in job.stages
        ]
        table.add_row(arm.name, str(arm.seed), arm.config.parsed_recipe.order, *marks)
    return table


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 7 min, 2.5 h; "?" where nobody knows."""
    if math.isnan(seconds):
        return "?"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"
