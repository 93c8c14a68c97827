"""``fp-lab track RUN...``: scores and drift over a training, from its checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.output_paths import folder_to_write

INTERRUPTED = 130


def track(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of grids, arms or runs.")],
    best: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY/SCORE[.drift]",
            help="Metric to choose the best checkpoint by.",
            show_default="the runs' track.best",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=folder_to_write,
            help="Output folder of the page.",
            show_default="track/ in the grid's folder",
        ),
    ] = None,
) -> None:
    """Track scores and drift over a training: missing checkpoints are scored, then all are shown.

    A training with track.every=N keeps checkpoints; see docs/tracking.md.

    For example:

      fp-lab train base track.every=20        then: fp-lab track runs/base

      fp-lab track runs/demo_drift --best world/anatomy.drift

      fp-lab track runs/demo_drift/g9/seed0 runs/demo_drift/td_f16k4f2k2f1k1_g9/seed0 --out comparison/
    """
    console = Console()
    with console.status("Starting (importing torch takes a while)"):
        from fp_lab.lab.checkpoints.afterwards import find_runs, page_folder, track, wanted_goal
        from fp_lab.lab.checkpoints.log_to_mlflow import send
        from fp_lab.lab.checkpoints.table import best_lines, steps_table
        from fp_lab.lab.report.checkpoints_page import write_track_page
        from fp_lab.lab.runtime.progress import CheckpointProgress
        from fp_lab.lab.tables import print_table

    found = find_runs(runs)
    folder = page_folder(found, out)
    try:
        with CheckpointProgress(console) as progress:
            tracked = track(found, progress)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command scores what is missing.")
        raise typer.Exit(INTERRUPTED) from None
    goal = wanted_goal(tracked, best)
    print_table(console, steps_table(tracked, goal))
    for line in best_lines(tracked, goal):
        console.say(line)
    for path in tracked.without:
        console.say(f"No checkpoints: {path}", "yellow")
    page = write_track_page(tracked, goal, folder)
    with console.status("MLflow"):
        send([one.run for one in tracked.runs], lambda line: console.say(line, "yellow"))
    console.say(f"Page: {page.resolve()}")
    if tracked.failed:
        console.print(f"{len(tracked.failed)} checkpoints could not be scored:", style="red")
        for line in tracked.failed:
            console.say(f"  {line}", "red")
        raise typer.Exit(1)
