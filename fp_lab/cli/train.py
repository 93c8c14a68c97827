"""``fp-lab train CONFIG``: training of one arm."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.grid import INTERRUPTED, REDO_HELP, REPLACE_HELP, end_halted
from fp_lab.cli.invocation import typed_command
from fp_lab.cli.output_paths import folder_to_write
from fp_lab.lab.files.run_folder import STAGES, Stage


def train(
    config: Annotated[
        str, typer.Argument(help="Experiment file, or its name under experiments/ such as base.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as training.steps=200."),
    ] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Generate and score the evaluation videos too.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help=REPLACE_HELP)] = False,
    redo: Annotated[bool, typer.Option("--redo", help=REDO_HELP)] = False,
    runs: Annotated[Path, typer.Option(callback=folder_to_write, help="Folder of runs.")] = Path("runs"),
) -> None:
    """Fine-tune one arm; interrupted, the same command continues.

    For example:

      fp-lab train base order=inverted training.steps=200

      fp-lab train base recipe=td_f8k8f4k4f2k2f1k1_g9 seed=1 --score
    """
    from fp_lab.lab.grids.grid import load_single
    from fp_lab.lab.grids.run_grid import fetch_data, run_grid

    console = Console()
    alone = load_single(config, overrides or [])
    fetch_data(alone, console)
    stages: tuple[Stage, ...] = STAGES if score else STAGES[:1]
    command = typed_command()
    try:
        result = run_grid(
            alone,
            runs,
            console,
            command=command,
            stages=stages,
            retry_failed=True,
            in_place=replace,
            redo=redo,
        )
    except KeyboardInterrupt:
        console.print("Interrupted. The same command continues.")
        raise typer.Exit(INTERRUPTED) from None
    if result.halted:
        end_halted(result.halted, console)
    if result.failed:
        raise typer.Exit(1)
    (folder,) = result.runs
    console.say(f"Trained: {folder}")
    console.say(f"Videos: fp-lab generate --checkpoint {folder} --seed 1")
