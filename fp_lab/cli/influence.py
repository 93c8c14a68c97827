"""``fp-lab influence RUN...``: which levels of their context models read, and errors of single steps."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console


def influence(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of grids, arms or runs.")],
) -> None:
    """Show the influence of every level of the context, and errors of single steps, without any rollout.

    New runs are measured as they are sampled; runs and scored checkpoints from before are measured now, and
    nothing of theirs is done again. What MLflow lacks of it is sent. See docs/antidrift.md.

    Such as: fp-lab influence runs/demo_drift
    """
    console = Console()
    with console.status("Starting (importing torch takes a while)"):
        from fp_lab.lab.checkpoints.log_to_mlflow import send
        from fp_lab.lab.compare.comparison import compare_runs
        from fp_lab.lab.runs.measure_finished import measure_finished
        from fp_lab.lab.runtime.progress import StageProgress
        from fp_lab.lab.tables import print_table

    with StageProgress(console) as progress:
        measured = measure_finished(runs, progress)
    for place in chain.from_iterable(measured.values()):
        console.say(f"Measured: {place.path}")
    with console.status("MLflow"):
        send(list(measured), lambda line: console.say(line, "yellow"))
    comparison = compare_runs(runs)
    keys = [key for key in ("influence", "step-errors") if key in comparison.makers]
    for key in keys:
        print_table(console, comparison.table(key))
    if not keys:
        console.say(
            "No measures: evaluation.without_rollout is 0 in these runs, or none was sampled", "yellow"
        )
