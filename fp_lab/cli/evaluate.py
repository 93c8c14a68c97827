"""``fp-lab evaluate PATH...``: scores of any videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.invocation import typed_command
from fp_lab.cli.numbers import MOST, MOST_THREADS, positive
from fp_lab.cli.output_paths import folder_to_write

if TYPE_CHECKING:
    from fp_lab.lab.evaluate.score_folders import FolderScores

_MANY = 24
"""Number of videos above which a terminal shows the means alone."""


def evaluate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Folders of videos, or video files.")
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="File of prompts by file name: .csv (file,prompt), .json, or lines of name, tab, prompt.",
            show_default="the .txt beside each video",
        ),
    ] = None,
    family: Annotated[
        str, typer.Option("--family", "--families", help="Families of estimators, separated by commas.")
    ] = "offline",
    metrics: Annotated[
        str | None, typer.Option(help="Scores or estimators, separated by commas.", show_default="all")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=folder_to_write, help="Output folder.", show_default="scores in the first folder"
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Scores of other videos with the same names or prompts, or a run, for paired differences."
        ),
    ] = None,
    vbench: Annotated[
        Path | None,
        typer.Option("--vbench-json", help="Results file of VBench, shown beside these."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Number of processes.", show_default="one per core")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="Number of threads per process.")] = 1,
    device: Annotated[str, typer.Option(help="Device of the networks: cpu or cuda.")] = "cpu",
    megapixels: Annotated[
        float,
        typer.Option(
            callback=positive,
            help="Largest frame size, megapixels; larger videos are skipped. A megapixel takes 0.2 GB.",
        ),
    ] = 16.8,
    mlflow: Annotated[
        Path | None,
        typer.Option(
            callback=folder_to_write, help="Folder of runs with the MLflow store to log scores and page to."
        ),
    ] = None,
) -> None:
    """Score videos of any model: seven scores, the drift of each with its interval, curves, a page.

    Interrupted, the same command continues: finished videos are not scored again.

    Such as: fp-lab weights get --family offline && fp-lab evaluate my_videos/

    or: fp-lab evaluate model_a/ model_b/ --prompts prompts.csv --out scores/

    or: fp-lab evaluate new/ --against old/scores --metrics clarity,identity

    or: fp-lab evaluate my_videos/ --family plain   (needs no weights)
    """
    from fp_lab.lab.evaluate.against import compare_folders, refuse_before_scoring
    from fp_lab.lab.evaluate.log_to_mlflow import log_folder
    from fp_lab.lab.evaluate.results import Results
    from fp_lab.lab.evaluate.score_file import Measuring
    from fp_lab.lab.evaluate.score_folders import score_folders
    from fp_lab.lab.evaluate.tables import summary_table
    from fp_lab.lab.evaluate.vbench import vbench_table, write_vbench
    from fp_lab.lab.report.scores_page import write_scores_page
    from fp_lab.lab.runtime.progress import StageProgress
    from fp_lab.lab.tables import to_text
    from fp_metrics.vbench_json import read_vbench_json

    console = Console()
    chosen = None if metrics is None else tuple(metrics.split(","))
    measuring = Measuring(tuple(family.split(",")), chosen, device, megapixels)
    other = None if against is None else Results.load(against)
    if other is not None:
        refuse_before_scoring(measuring, other)
    if vbench is not None:
        read_vbench_json(vbench)  # refused before hours of work, not after
    with StageProgress(console) as bars:
        scores = score_folders(
            paths,
            out=out,
            measuring=measuring,
            prompts=prompts,
            workers=workers,
            threads=threads,
            reporter=bars,
        )
    tables = [summary_table(group, scores.kinds, scores.results) for group in scores.results.groups]
    further = [] if other is None else [compare_folders(scores.results, other)]
    further += [] if vbench is None else [vbench_table(vbench, scores.results)]
    write_vbench(scores)
    for table in (*tables, *further):
        console.say(to_text(table, intervals=True))
        for note in table.footnotes:
            console.say(note)
        console.print()
    if len(scores.results.files) <= _MANY:
        for table in scores.tables:
            console.say(to_text(table))
    command = typed_command()
    page = write_scores_page(scores, command, further)
    console.say(f"Written: {scores.out}")
    console.say(f"Page: {page}")
    if mlflow is not None:
        console.print(f"MLflow: run {log_folder(scores, page, mlflow)}", markup=False, highlight=False)
    _say_what_is_wrong(scores, console)
    if scores.skipped:
        console.print(f"{len(scores.skipped)} of {len(scores.files)} files could not be scored.", style="red")
        raise typer.Exit(1)


def _say_what_is_wrong(scores: "FolderScores", console: Console) -> None:
    """Print notes on files, and those that could not be scored."""
    for name, facts in scores.results.files.items():
        for note in facts["notes"]:
            console.say(f"note on {name}: {note}")
    for line in scores.told:
        console.say(line, "yellow")
    for name, reason in scores.skipped.items():
        console.say(f"not scored: {name}: {reason}", "yellow")
