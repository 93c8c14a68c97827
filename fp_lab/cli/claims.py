"""``fp-lab claims [RUNS...]``: check of the paper's claims."""

from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.console import Console
from fp_lab.cli.output_paths import folder_to_write


def claims(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...", help="Folders of grids, arms or runs to check empirical claims on."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Id of a claim, or prefix of several: M9, table1; repeat for more."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(callback=folder_to_write, help="Output folder of index.html and claims.json."),
    ] = None,
) -> None:
    """Check the claims of the paper and its project: reproduced (toy: at this scale), not, or inconclusive.

    Such as: fp-lab claims

    or: fp-lab claims runs/table1 runs/table2 --out claims/

    or: fp-lab claims runs/table1 --only M3 --only table1
    """
    console, aside = Console(), Console(stderr=True)
    with aside.status("Loading") as status:
        from fp_lab.lab.claims import check_claims, counted, to_rich, write_claims
        from fp_lab.lab.tables import print_whole

        def begin(line: str) -> None:
            status.update(f"{line} (M8 and efficiency/window plan the 13B model: half a minute)")
            if not aside.is_terminal:
                aside.say(line)

        evidence, checked = check_claims(runs or [], only or [], begin)
    print_whole(console, to_rich(checked))
    claims = "1 claim" if len(checked) == 1 else f"{len(checked)} claims"
    console.print(f"{claims}: {counted(checked)}.", highlight=False)
    if evidence.scope:
        console.say(f"Empirical ones are {evidence.scope}.")
    left_out = evidence.comparison.gathered.left_out if evidence.comparison else ()
    for line in left_out:
        console.say(line, "red")
    if out is not None:
        from fp_lab.lab.report.claims_page import write_claims_page

        write_claims(evidence, checked, out)
        page = write_claims_page(evidence, checked, out)
        console.say(f"Page: {page}")
    if left_out:
        raise typer.Exit(1)
