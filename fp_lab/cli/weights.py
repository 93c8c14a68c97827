"""``fp-lab weights``: fetching and checking of the networks that metrics use."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fp_lab.cli.console import Console

Family = Literal["offline", "paper"]

app = typer.Typer(no_args_is_help=True, help="Fetch the networks that metrics use, list installed ones.")


@app.command("list")
def show(
    family: Annotated[
        Family | None, typer.Option(help="Show only the weights that this family needs.")
    ] = None,
) -> None:
    """List the weights with their licence, and whether they are installed.

    For example:

      fp-lab weights list --family offline
    """
    from fp_metrics.weights import ARTIFACTS, in_words, state_of, weights_folder

    typer.echo(f"Weights in {weights_folder()}")
    width = max(map(len, ARTIFACTS))
    for name, artifact in ARTIFACTS.items():
        if family in (None, *artifact.families):
            families, size = ", ".join(artifact.families), in_words(artifact.size)
            typer.echo(f"{name:{width}}  {families:8}{size:>9}  {state_of(name)}")
            typer.echo(f"    {artifact.what}")
            typer.echo(f"    {artifact.licence}; {artifact.source.place}")


@app.command()
def get(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of weights.")] = None,
    family: Annotated[Family | None, typer.Option(help="Fetch all weights that this family needs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch the weights of all families.")] = False,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from", exists=True, dir_okay=False, help="Install this file, downloaded by other means."
        ),
    ] = None,
) -> None:
    """Fetch weights, checked by sha256; existing files stay.

    For example:

      fp-lab weights get --family offline

      fp-lab weights get rife-v4 niqe-parameters

      fp-lab weights get raft-large --from ~/raft_large_C_T_SKHT_V2-ff5fadd5.pth
    """
    if [bool(names), family is not None, everything].count(True) != 1:
        raise ValueError("expected names, --family or --all, one of the three; see: fp-lab weights list")
    if file is not None and len(names or []) != 1:
        raise ValueError("expected one name with --from, such as: fp-lab weights get rife-v4 --from FILE")
    from fp_metrics.weights import ARTIFACTS, get_weights, names_of, place

    wanted = list(ARTIFACTS) if everything else names_of(family) if family is not None else names or []
    if file is not None:
        paths: tuple[Path, ...] = (place(wanted[0], file),)
    else:
        console = Console()
        with console.status("Bringing weights"):
            paths = get_weights(wanted, progress=lambda line: console.say(line))
    for name, path in zip(wanted, paths, strict=True):
        typer.echo(f"{path}: {ARTIFACTS[name].licence}")


@app.command()
def where(name: Annotated[str, typer.Argument(help="Names of weights.")]) -> None:
    """Print the path of installed weights.

    For example:

      fp-lab weights where rife-v4
    """
    from fp_metrics.weights import weights_path

    typer.echo(weights_path(name))
