"""Command line: every command is thin, and nothing heavy is imported before it is needed."""

import gc
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fp_lab.cli import (
    claims,
    compare,
    data,
    efficiency,
    encode,
    evaluate,
    explain,
    generate,
    grid,
    influence,
    plan,
    pretrain,
    probe,
    results,
    track,
    train,
    weights,
)
from fp_lab.cli.console import log_to
from fp_lab.cli.output_paths import file_to_write
from fp_lab.lab.files.atomic import CANNOT_WRITE
from fp_lab.lab.files.names import visible
from fp_lab.lab.runtime.progress import LOG
from fp_lab.registry import load_plugins

_MAY_BE_EMPTY = ("--prompt", "--caption")


class _Group(TyperGroup):
    """Turns errors that a user can fix into a short message and exit code 2, for all commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty arguments, as of an unset variable: an empty path would be the current folder."""
        for before, argument in pairwise(["", *args]):
            option, mark, value = argument.partition("=")
            of_option = bool(mark) and option.startswith("--")
            if not argument or (of_option and not value):
                name = option if of_option else before if before.startswith("--") else ""
                if name not in _MAY_BE_EMPTY:
                    told = f"{name or 'argument'}: got an empty text, expected a name, a path or a value"
                    raise typer.BadParameter(told)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:  # click's Context, or the one that typer brings
        try:
            return super().invoke(ctx)
        except ValueError as error:
            LOG.error(str(error))
            typer.secho(visible(str(error)), fg="red", err=True)
            raise typer.Exit(2) from error
        except OSError as error:
            if error.errno not in CANNOT_WRITE:
                raise
            place = f"{error.filename}: " if error.filename else ""
            text = f"{place}{error.strerror}. What is finished is kept; put that right and call it again."
            typer.secho(visible(text), fg="red", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    name="fp-lab",
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    help="A lab for FramePack-style video generation: train arms, generate videos, measure drift, compare.",
    epilog="Begin with: [bold]fp-lab grid demo[/bold]  (or: fp-lab explain td_f16k4f2k2f1k1_g9)",
)
app.command("explain")(explain.explain)
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("grid")(grid.grid)
app.command("compare")(compare.compare)
app.command("claims")(claims.claims)
app.command("results")(results.results)
app.command("track")(track.track)
app.command("influence")(influence.influence)
app.command("evaluate")(evaluate.evaluate)
app.command("efficiency")(efficiency.efficiency)
app.command("plan")(plan.plan)
app.command("encode")(encode.encode)
app.command("pretrain")(pretrain.pretrain)
app.add_typer(pretrain.codec_app, name="codec")
app.add_typer(data.app, name="data")
app.add_typer(probe.probe_app, name="probe")
app.add_typer(weights.app, name="weights")


def _version(wanted: bool) -> bool:
    if wanted:
        from importlib import metadata

        try:
            version = metadata.version("fp_lab")
        except metadata.PackageNotFoundError:
            version = "(not installed)"
        typer.echo(f"fp-lab {version}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    log: Annotated[
        Path | None,
        typer.Option(
            callback=file_to_write,
            help="File to append a log to, beside the progress bars: what is printed, stages, every step.",
        ),
    ] = None,
    plugins: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="MODULE",
            help="Module that registers further implementations, before the command; repeat for more.",
        ),
    ] = None,
) -> None:
    """A lab for FramePack-style video generation: train arms, generate videos, measure drift, compare."""
    gc.set_threshold(10_000)  # what imports and large grids make is no garbage: a seventh of a dry run
    if log is not None:
        log_to(log)
    load_plugins()
    if plugins:
        from fp_lab.lab.config.plugins import use_plugins  # slow to import

        use_plugins(plugins)
