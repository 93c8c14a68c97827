"""``fp-lab results GRID...``: page of a grid's results, and a file to redraw it from."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.output_paths import folder_to_write


def results(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="GRID...", help="Folders of finished grids, or .parquet files of this command."
        ),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            callback=folder_to_write,
            help="Output folder; by default docs/results, or for a file its own folder.",
        ),
    ] = None,
) -> None:
    """Write one page per grid with tables, plots and claims, and the values behind it as a small file.

    Such as: fp-lab results runs/table1 runs/memory --to docs/results

    or: fp-lab results docs/results/table1.parquet
    """
    from fp_lab.lab.report.results_page import write_results

    for source in sources:
        usual = source.parent if source.is_file() else Path("docs", "results")
        typer.echo(write_results(source, to or usual))
