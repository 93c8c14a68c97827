"""``fp-lab compare RUNS...``: tables of scored runs, from their folders."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.output_paths import folder_to_write

Format = Literal["md", "latex", "csv", "html"]


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER... [KEY=VALUE]...",
            help="Folders of grids, arms or runs; settings to select runs by, such as seed=0.",
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(help="Reference arm of significance stars; by default the first of vanilla order."),
    ] = None,
    paper: Annotated[
        str | None,
        typer.Option(
            help="Table of the paper to show beside ours (table1, table2), or figures that other papers give "
            "of FramePack (others); by default the grid's."
        ),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Format of all tables: md, latex, csv or html; prints nothing else."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            callback=folder_to_write, help="Output folder of table.md, .tex, .csv, .html and the verdict."
        ),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write the report page of a grid again.")] = False,
) -> None:
    """Compare scored runs: drift, scores, exposure bias and cost, paired by prompt and seed.

    Such as: fp-lab compare runs/demo_drift

    or: fp-lab compare runs/demo_drift/g9 runs/other --out comparison/

    or: fp-lab compare runs/demo_drift runs/more training.steps=60 seed=0

    or: fp-lab compare runs/table1 --paper table1 --format latex > table1.tex

    or: fp-lab compare runs/demo_drift --paper others

    or: fp-lab compare runs/demo_drift --report
    """
    from fp_lab.lab.compare.comparison import compare_runs
    from fp_lab.lab.tables import print_table

    console = Console()
    settings = [text for text in runs if "=" in text and not Path(text).exists()]
    folders = [Path(text) for text in runs if text not in settings]
    comparison = compare_runs(folders, settings, against=against, beside=paper)
    if form is not None:
        typer.echo(comparison.written(form), nl=False)
        console = Console(stderr=True)
    else:
        for table in comparison.tables:
            print_table(console, table)
        for line in (*comparison.gathered.cautions, comparison.verdict.text):
            console.say(line)
    for run in comparison.gathered.waiting:
        console.say(f"Not scored yet: {run}", "yellow")
    for line in comparison.gathered.left_out:
        console.say(line, "red")
    if out is not None:
        comparison.write(out)
        console.say(f"Written: {out}")
    if report:
        from fp_lab.lab.report import write_report

        for folder in folders:
            console.say(f"Report: {write_report(folder)}")
    if comparison.gathered.left_out:
        raise typer.Exit(1)
