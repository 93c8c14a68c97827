"""``fp-lab explain NAME``: what an ablation name means, before anything is trained."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fp_lab.attention_blocks import LENGTH
from fp_lab.baselines import BASELINES, Baseline, baseline
from fp_lab.explain import Explanation, latent_size, picture, sparkline
from fp_lab.explain import explain as explain_name

_STYLES = {
    "generated": "bold green",
    "level": "cyan",
    "anchored": "magenta",
    "tail": "yellow",
    "dropped": "red",
}
_SHOWN = 12


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Ablation name, such as td_f16k4f2k2f1k1_g9, or a baseline, such as anchor_frames."
        ),
    ] = None,
    height: Annotated[int | None, typer.Option(help="Latent rows.", show_default="60")] = None,
    width: Annotated[int | None, typer.Option(help="Latent columns.", show_default="104")] = None,
    frames: Annotated[int | None, typer.Option(help="Length of the example video in latent frames.")] = None,
    pixels: Annotated[str | None, typer.Option(help="Size in pixels instead, such as 480x832.")] = None,
    protocol: Annotated[
        str, typer.Option(help="Of a baseline: paper (33 frames) or equal_tokens (as many as a packed arm).")
    ] = "paper",
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw its structure into this .png or .svg instead.")
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Draw every NAME.png that a Markdown page shows, such as docs/recipes.md."),
    ] = None,
) -> None:
    """Show a recipe's levels, tokens, context length, order, plan, and which frame lands where.

    For example:

      fp-lab explain td_f16k4f2k2f1k1_g9 --pixels 480x832

      fp-lab explain f1k1_x_g9_f1k1f2k2f16k4_td --frames 64 --picture inverted.png

      fp-lab explain causal_attention --protocol equal_tokens
    """
    try:
        size = _size(height, width, pixels)
        if _draws(name, picture, page, size, frames, protocol, json=json):
            return
        assert name is not None
        made = None
        if name in BASELINES:
            made = baseline(name, protocol, frames=LENGTH, rows=size[0], columns=size[1])
        explanation = explain_name(str(made.recipe) if made else name, *size, frames)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if json:
        typer.echo(jsonlib.dumps(explanation.as_json(), indent=2))
        return
    console = Console()
    if made is not None:
        console.print(_settings(str(name), made))
    console.print(_heading(explanation))
    if explanation.levels:
        console.print(_levels(explanation), _kernels(explanation))
    console.print(_context(explanation))
    console.print(_middle(explanation))
    console.print(explanation.note or _plan(explanation))


def _size(height: int | None, width: int | None, pixels: str | None) -> tuple[int, int]:
    if pixels is None:
        return 60 if height is None else height, 104 if width is None else width
    if height is not None or width is not None:
        raise ValueError(
            f"pixels: got {pixels!r} beside a latent size; give --pixels or --height and --width"
        )
    return latent_size(pixels)


def _draws(
    name: str | None,
    picture: Path | None,
    page: Path | None,
    size: tuple[int, int],
    frames: int | None,
    protocol: str,
    *,
    json: bool,
) -> bool:
    """Draw what is asked for, if anything."""
    if (name is None) == (page is None):
        raise ValueError("give a NAME, such as td_f16k4f2k2f1k1_g9, or --page FILE.md")
    if sum((json, picture is not None, page is not None)) > 1:
        raise ValueError("give one of --json, --picture and --page")
    if picture is None and page is None:
        return False
    from fp_lab.lab.report import pictures

    if page is not None:
        for drawn in pictures.draw_page(page):
            typer.echo(drawn)
    elif name is not None and picture is not None:
        typer.echo(pictures.draw(name, picture, *size, frames, protocol))
    return True


def _settings(name: str, made: Baseline) -> Text:
    settings = "".join(f"\n  {key}: {value}" for key, value in made.settings.items())
    return Text.assemble((name, "bold"), f", a baseline: {made.recipe}{settings}\n")


def _heading(explanation: Explanation) -> Text:
    fill = f", gap filled {explanation.fill}" if explanation.fill == "forward" else ""
    fill = ", gap bisected" if explanation.fill == "bisect" else fill
    codebook = f", history discretised to {explanation.codebook} centroids" if explanation.codebook else ""
    return Text.assemble(
        (explanation.name, "bold"),
        f"\n{explanation.order} order{fill}; {explanation.section} frames per call{codebook}\n",
        f"{explanation.height}x{explanation.width} latents: the noisy section has "
        f"{explanation.section_tokens:,} tokens",
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("frames", "tokens", "call", "known") else "left"
        )
    return table


def _levels(explanation: Explanation) -> Table:
    table = _table("Levels in video time", "level", "side", "takes", "kernel t,h,w", "frames", "tokens")
    for row in explanation.levels:
        kernel = ",".join(map(str, row.kernel))
        table.add_row(row.level, row.side, row.placement, kernel, f"{row.frames:,}", f"{row.tokens:,}")
    return table


def _kernels(explanation: Explanation) -> Table:
    table = _table("Tokens by kernel", "kernel", "rate", "frames", "tokens")
    for row in explanation.kernels:
        table.add_row(row.kernel, row.label, f"{row.frames:,}", f"{row.tokens:,}")
    table.add_row("g", "noisy", f"{explanation.section:,}", f"{explanation.section_tokens:,}")
    return table


def _context(explanation: Explanation) -> Text:
    lengths = explanation.context_lengths
    last = len(lengths)
    shown = sorted({1, 2, 4, 8, 16, 32, 64, last} & set(range(1, last + 1)))
    limit = explanation.context_limit
    return Text(
        "Context tokens by history frames: "
        + ", ".join(f"{n}: {lengths[n - 1]:,}" for n in shown)
        + f"\n{sparkline(lengths)} limit "
        + ("none, it grows with the video" if limit is None else f"{limit:,}")
    )


def _middle(explanation: Explanation) -> Text:
    call = f"call {explanation.middle_call}" if explanation.middle_call else "a section"
    text = Text(f"Frames 0..{explanation.middle[-1].last} in video time, as {call} sees them:\n")
    for strip in explanation.middle:
        text.append(picture([strip]), style=_STYLES.get(strip.kind, "dim"))
    kernels = "".join(f", {row.symbol} {row.kernel}" for row in explanation.kernels)
    text.append(f"\nG generated{kernels}, A anchored, t tail, - dropped, . not there yet", style="dim")
    return text


def _plan(explanation: Explanation) -> Table:
    plan = explanation.plan
    title = f"Plan of {len(plan)} calls for {explanation.frames} frames"
    table = _table(title, "call", "generates", "known", "tokens")
    for number, call in enumerate(plan, start=1):
        if len(plan) > _SHOWN and number == _SHOWN:
            table.add_row("...", "...", "...", "...")
        if len(plan) <= _SHOWN or number < _SHOWN or number == len(plan):
            targets = ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in call.targets)
            table.add_row(f"{number}", targets, f"{call.known:,}", f"{call.context_tokens:,}")
    return table
