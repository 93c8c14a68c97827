"""``fp-lab evaluate FOLDER``: score any folder of videos."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of video files, or one file.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write.", show_default="scores in the folder")
    ] = None,
    families: Annotated[str, typer.Option(help="Families of estimators, separated by commas.")] = "plain",
) -> None:
    """Score videos of any model: seven scores and the drift of each; interrupted, the same command continues.

    Such as: fp-lab evaluate samples/ --out scores/
    """
    from fp_lab.lab.folders import score_folder
    from fp_lab.lab.tables import to_text

    console = Console()
    bars = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *bars, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, name: str) -> None:
            progress.update(task, completed=done, total=total, description=name)

        scores = score_folder(folder, out=out, families=tuple(families.split(",")), progress=show)
    for table in scores.tables:
        console.print(to_text(table), markup=False, highlight=False, soft_wrap=True)
    for note in table.footnotes:
        console.print(note, markup=False, highlight=False)
    for name, reason in scores.skipped.items():
        console.print(
            f"skipped {name}: {reason}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )
    console.print(f"Written: {scores.out}", markup=False, highlight=False, soft_wrap=True)
