"""``fp-lab grid FILE``: train, sample and score every arm of a grid, and compare them."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fp_lab.lab.ending import ending
from fp_lab.lab.finished import find_finished, record_path

INTERRUPTED = 130


def grid(
    file: Annotated[str, typer.Argument(help="Grid file, or its name under experiments/grids such as demo.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings for every arm.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the arms and what is done, run nothing.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
) -> None:
    """Run a grid: what is done is found again, what is missing is done, then all arms are compared.

    For example:

      fp-lab grid demo

      fp-lab grid experiments/grids/clips.yaml training.steps=200

      fp-lab grid demo --dry-run
    """
    console = Console()
    record = record_path(runs, file, overrides or [])
    if not dry_run and (finished := find_finished(record)):
        folder = Path(finished.folder)
        console.print(ending(folder, runs), markup=False, highlight=False, soft_wrap=True)
        console.print(f"All {finished.arms} arms were done already.", highlight=False)
        return
    with console.status("Starting (importing torch and MLflow takes a while)"):
        from fp_lab.lab.grid import load_grid
        from fp_lab.lab.grid_run import fetch_data, plan_table, run_grid

        loaded = load_grid(file, overrides or [])
    fetch_data(loaded, console)
    if dry_run:
        console.print(plan_table(loaded, runs))
        return
    try:
        command = shlex.join(["fp-lab", "grid", file, *(overrides or [])])
        result = run_grid(loaded, runs, console, command=command, record=record)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command finishes what is missing.")
        raise typer.Exit(INTERRUPTED) from None
    console.print(ending(result.folder, runs), markup=False, highlight=False, soft_wrap=True)
    if result.failed:
        count = f"{len(result.failed)} of {len(loaded.arms)} arms failed"
        console.print(f"{count}: {', '.join(result.failed)}", style="red", markup=False)
        raise typer.Exit(1)
