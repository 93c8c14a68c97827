"""Table of a grid's plan: its arms, finished stages, and the cost of the rest."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from fp_lab.lab.dry_run.cost_estimate import SHARE, Cost
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.first_batch.changes import Change
from fp_lab.lab.grids.grid import Grid
from fp_lab.lab.planning.flops import costs_of
from fp_lab.lab.runs.identity import results_in
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runtime.device import lacks_gpu
from fp_lab.recipe.orders import ORDERS

_MINUTE, _HOUR = 60, 3600
_SHOWN = 4  # runs that a line names


@dataclass(frozen=True)
class Options:
    """Options of a command beyond pending work.

    Attributes:
        redo: whether to repeat finished stages.
        retry_failed: whether to retry failed runs.
        efficiency: whether to measure efficiency at the end.
        look: whether to look at first batches; None: in a grid that is small enough.
    """

    redo: bool = False
    retry_failed: bool = False
    efficiency: bool = False
    look: bool | None = None


def plan_table(
    grid: Grid,
    jobs: Sequence[Job],
    costs: Sequence[Cost],
    workers: int = 1,
    *,
    retry_failed: bool = False,
    changes: Mapping[str, Change] | None = None,
) -> Table:
    """Build a table with one row per arm; `done`, or the estimated time of a stage.

    Args:
        grid: grid with the arms.
        jobs: jobs of the arms.
        costs: costs of the jobs.
        workers: number of parallel arms, by which the total is divided.
        retry_failed: whether failed arms are retried.
        changes: what arms change against the first one, by their names; None: no such column.
    """
    left_out = [not retry_failed and has_failed(job) for job in jobs]
    counted = [Cost() if out else cost for out, cost in zip(left_out, costs, strict=True)]
    whole = _whole(jobs, counted, workers)
    title = f"Grid {grid.name}: {len(jobs)} runs in {jobs[0].folder.parents[1]}"
    table = Table(title=title, title_justify="left", caption=whole, caption_justify="left")
    for column in ("arm", "seed", "order", *([] if changes is None else ["changes"]), *jobs[0].stages):
        table.add_column(column, overflow="fold")
    for arm, job, cost, failed in zip(grid.arms, jobs, costs, left_out, strict=True):
        marks = [
            "done" if stage not in job.pending else "failed" if failed else duration(getattr(cost, stage))
            for stage in job.stages
        ]
        fill = arm.config.sampling.fill or ""
        order = fill if ORDERS.foreign(fill) else arm.config.parsed_recipe.order
        changed = [] if changes is None else [changes[arm.name].text]
        table.add_row(job.folder.parent.name, str(arm.seed), order, *changed, *marks)
    return table


def plan_notes(jobs: Sequence[Job], options: Options) -> list[str]:
    """Describe what the options of a command would do to existing runs and what runs lack, a line each.

    Args:
        jobs: jobs under these options.
        options: options of the command.
    """
    there = {run.path for place in {job.folder.parent for job in jobs} for run in results_in(place)}
    done = [job for job in jobs if job.folder in there]
    failed = [job for job in jobs if has_failed(job)]
    notes = [f"--redo: done again in place: {_named(done)}"] if options.redo and done else []
    if failed and options.retry_failed:
        notes.append(f"--retry-failed: tried again: {_named(failed)}")
    elif failed:
        notes.append(f"Failed before, and only tried again with --retry-failed: {_named(failed)}")
    if without := [job for job in jobs if job.pending and lacks_gpu(job.config)]:
        notes.append(
            f"training.accelerator: got gpu, but torch sees none on this machine: {_named(without)}; run "
            "them where there is one, or use auto or cpu"
        )
    if options.efficiency:
        notes.append(f"--efficiency: of {len(jobs)} runs in turn in the end; its time is not counted")
    return notes


def has_failed(job: Job) -> bool:
    """Return whether a job has failed before with the current settings, weights and data, and is not done."""
    return bool(job.pending) and RunFolder(job.folder).failure(job.key) is not None


def _named(jobs: Sequence[Job]) -> str:
    more = f" and {len(jobs) - _SHOWN} more" if len(jobs) > _SHOWN else ""
    return f"{', '.join(job.label for job in jobs[:_SHOWN])}{more}"


def _whole(jobs: Sequence[Job], costs: Sequence[Cost], workers: int) -> str:
    """Total estimated time, and its basis."""
    known = [cost.total for cost in costs if not math.isnan(cost.total)]
    timed = [costs_of(job.config).timed for job, cost in zip(jobs, costs, strict=True) if cost.total]
    if not timed:
        return "Nothing is left to do."
    lines = []
    if sum(known):
        step = "one training step and " if any(timed) else ""
        lines.append(
            f"About {duration(sum(known) / workers)} in all: {step}one video's scores were timed, the rest "
            "is in proportion to floating-point operations."
        )
    if not all(timed):
        lines.append(
            f"Over a transformer of diffusers they are taken to be done at {SHARE:.0%} of the rate of a "
            "large matrix product, which was timed. Nothing was loaded; neither encoding nor decoding counts."
        )
    if unknown := len(costs) - len(known):
        lines.append(
            f"?, in {unknown} runs: the GPU, the config of the transformer or of its VAE, or data.cache, is "
            "not on this machine."
        )
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Format seconds: 42 s, 7 min, 2.5 h; "?" where unknown."""
    if math.isnan(seconds):
        return "?"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"
