"""``fp-lab grid FILE``: train, sample and score every arm of a grid, and compare them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.invocation import typed_command
from fp_lab.cli.numbers import MOST
from fp_lab.cli.output_paths import folder_to_write
from fp_lab.lab.files.experiments import find_grids
from fp_lab.lab.grids.closing_lines import closing_lines

if TYPE_CHECKING:
    from fp_lab.lab.dry_run.plan_table import Options
    from fp_lab.lab.grids.engines import Engine
    from fp_lab.lab.grids.grid import Grid

INTERRUPTED = 130
REPLACE_HELP = "Replace earlier results of other settings instead of keeping both."
REDO_HELP = "Repeat all stages in place, also finished ones."


def grid(
    file: Annotated[
        str,
        typer.Argument(
            help="Grid file or folder of grids, or its name under experiments/grids, such as demo."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...", help="Settings of every arm, and the grid's seeds and name."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the arms, what each changes against the first one, what is done and what the rest "
            "costs; run nothing. Timings are kept in timings.json of the cache folder, $FP_LAB_CACHE; "
            "without that file they are taken again.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry arms that failed before.")
    ] = False,
    efficiency: Annotated[
        bool,
        typer.Option("--efficiency", help="Measure batch and time efficiency of the arms at the end."),
    ] = False,
    engine: Annotated[str, typer.Option(help="Engine that runs the arms: local, ray or slurm.")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST, help="Number of parallel arms.", show_default="as many as cores and memory allow"
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="Option of the engine, such as slurm_partition=gpu; repeat for more.",
        ),
    ] = None,
    look: Annotated[
        bool | None,
        typer.Option(
            "--look/--no-look",
            help="Whether to make the first batch of each arm, and refuse arms that change nothing.",
            show_default="in grids of up to 64 arms",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help=REPLACE_HELP)] = False,
    redo: Annotated[bool, typer.Option("--redo", help=REDO_HELP)] = False,
    runs: Annotated[Path, typer.Option(callback=folder_to_write, help="Folder of runs.")] = Path("runs"),
) -> None:
    """Run a grid: finished arms are reused, missing ones run, then all arms are compared.

    For example:

      fp-lab grid demo

      fp-lab grid experiments/grids/clips.yaml training.steps=200

      fp-lab grid demo training.steps=40             beside earlier results, which stay

      fp-lab grid demo 'seeds=[0, 1, 2]'             of training, in place of the file's

      fp-lab grid demo --dry-run

      fp-lab grid demo --efficiency

      fp-lab grid demo --workers 1                   one arm after another in this process

      fp-lab grid table1 --engine slurm --option slurm_partition=gpu --option gpus_per_node=1
    """
    console = Console()
    with console.status("Starting (importing torch and MLflow takes a while)"):
        from fp_lab.lab.dry_run.plan_table import Options
        from fp_lab.lab.grids.grid import load_grid
        from fp_lab.lab.grids.run_grid import fetch_data

        files = find_grids(file)
        if len(files) > 1 and any(text.startswith("name=") for text in overrides or []):
            raise ValueError(f"name: got one for {len(files)} grids of {file}, expected none")
        grids = [load_grid(path, overrides or []) for path in files]
    for loaded in grids:
        fetch_data(loaded, console)
    where = _Where(engine, workers, key_values(options or []))
    asked = Options(redo, retry_failed, efficiency, look)
    failed: dict[str, str] = {}
    for loaded in grids:
        if len(grids) > 1:
            console.rule(loaded.name)
        if dry_run:
            _show_plan(loaded, runs, where, asked, replace, console)
        else:
            failed |= _run(loaded, runs, where, asked, replace, console)
    if failed:
        _end_failed(failed, sum(len(loaded.arms) for loaded in grids), console)


@dataclass(frozen=True)
class _Where:
    """Engine and its options, from the command line."""

    engine: str
    workers: int | None
    options: Mapping[str, str]

    def make(self, grid: "Grid", runs: Path) -> "Engine":
        """Make the engine; its options are checked, nothing is started."""
        from fp_lab.lab.grids.engines import make_engine

        return make_engine(self.engine, self.at_once(grid), runs / "cache", self.options)

    def at_once(self, grid: "Grid") -> int | None:
        from fp_lab.lab.grids.engines.local import workers_that_fit

        if self.workers is not None or self.engine != "local":
            return self.workers
        return workers_that_fit([arm.config for arm in grid.arms])


def _run(
    grid: "Grid", runs: Path, where: _Where, asked: "Options", replace: bool, console: Console
) -> dict[str, str]:
    """Run a grid and show its end; return labels of failed arms, with the reason."""
    from fp_lab.lab.grids.run_grid import run_grid

    try:
        result = run_grid(
            grid,
            runs,
            console,
            command=typed_command(),
            engine=where.make(grid, runs),
            retry_failed=asked.retry_failed,
            in_place=replace,
            redo=asked.redo,
            efficiency=asked.efficiency,
            look=asked.look,
        )
    except KeyboardInterrupt:
        console.print("Interrupted. The same command finishes what is missing.")
        raise typer.Exit(INTERRUPTED) from None
    if result.halted:
        end_halted(result.halted, console)
    console.say(closing_lines(result.reported, runs))
    return result.failed


def _end_failed(failed: Mapping[str, str], arms: int, console: Console) -> NoReturn:
    lines = [f"{len(failed)} of {arms} arms failed; --retry-failed tries them again:"]
    lines += [f"  {label}: {reason}" for label, reason in failed.items()]
    console.say("\n".join(lines), "red")
    raise typer.Exit(1)


def end_halted(reason: str, console: Console) -> NoReturn:
    """Stop, as the folder of runs cannot be written to."""
    console.say(
        f"Stopped: {reason}. What is finished is kept; put that right and call the same command again.",
        "red",
    )
    raise typer.Exit(1)


def key_values(texts: Sequence[str]) -> dict[str, str]:
    """Parse ``KEY=VALUE`` texts into values by key."""
    for text in texts:
        if "=" not in text or text.startswith("="):
            raise ValueError(f"--option: got {text!r}, expected KEY=VALUE such as slurm_partition=gpu")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _show_plan(
    grid: "Grid", runs: Path, where: _Where, asked: "Options", replace: bool, console: Console
) -> None:
    from fp_lab.lab.dry_run.cost_estimate import estimate
    from fp_lab.lab.dry_run.plan_table import plan_notes, plan_table
    from fp_lab.lab.first_batch.changes import require_changes
    from fp_lab.lab.grids.cautions import cautions
    from fp_lab.lab.grids.changes import changes_in
    from fp_lab.lab.grids.feasible import check_feasible
    from fp_lab.lab.grids.placement import place_arms
    from fp_lab.lab.grids.run_grid import placed_jobs
    from fp_lab.lab.tables import print_whole

    where.make(grid, runs)
    placed = place_arms(grid, runs / grid.name, in_place=replace, redo=asked.redo)
    with console.status("Timing a step"):
        jobs = placed_jobs(placed, runs)
        check_feasible([arm for arm, job in zip(placed.grid.arms, jobs, strict=True) if job.pending])
        costs = estimate(jobs)
    with console.status("Looking at the first batches"):
        changes, remarks = changes_in(placed.grid, asked.look)
    workers = where.at_once(grid) or 1
    table = plan_table(placed.grid, jobs, costs, workers, retry_failed=asked.retry_failed, changes=changes)
    print_whole(console, table)
    for line in (*placed.lines, *remarks, *plan_notes(jobs, asked)):
        console.say(line)
    for caution in cautions(placed.grid.arms):
        console.say(caution, "yellow")
    pending = {arm.name for arm, job in zip(placed.grid.arms, jobs, strict=True) if job.pending}
    require_changes(changes, pending)
