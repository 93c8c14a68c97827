"""``fp-lab explain NAME``: meaning of an ablation name, before anything is trained."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from fp_lab.cli.numbers import MOST
from fp_lab.cli.output_paths import file_to_write
from fp_lab.lab.files.names import visible


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Ablation name, such as td_f16k4f2k2f1k1_g9, or baseline, such as anchor_frames."
        ),
    ] = None,
    latents: Annotated[
        str | None, typer.Option(help="Size of a latent frame, rows x columns.", show_default="60x104")
    ] = None,
    pixels: Annotated[
        str | None, typer.Option(help="Size in pixels instead, 8 per latent, such as 480x832.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Length of the example video in latent frames.")
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="Protocol of a baseline: paper (33 frames) or equal_tokens (as many tokens as a packed arm)."
        ),
    ] = "paper",
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            callback=file_to_write,
            help="Output file (.png or .svg) of a picture of the structure, drawn instead.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            help="Markdown page, such as docs/recipes.md, whose NAME.png pictures are drawn instead."
        ),
    ] = None,
) -> None:
    """Show a recipe's levels, tokens, context length, order and plan, and the place of every frame.

    For example:

      fp-lab explain td_f16k4f2k2f1k1_g9 --pixels 480x832

      fp-lab explain td_f8k8f4k4f2k2f1k1_g9 --latents 16x16

      fp-lab explain f1k1_x_g9_f1k1f2k2f16k4_td --frames 64 --picture inverted.png

      fp-lab explain causal_attention --protocol equal_tokens
    """
    from fp_lab.baselines import BASELINES, baseline
    from fp_lab.cli.explained import show
    from fp_lab.explain import explain as explain_name
    from fp_lab.explain.masks import LENGTH

    try:
        size = _size(latents, pixels)
        if _draws(name, picture, page, size, frames, protocol, json=json):
            return
        assert name is not None
        made = None
        if name in BASELINES:
            made = baseline(name, protocol, frames=LENGTH, rows=size[0], columns=size[1])
        explanation = explain_name(str(made.recipe) if made else name, *size, frames)
    except ValueError as error:
        typer.echo(visible(str(error)), err=True)
        raise typer.Exit(2) from None
    if json:
        typer.echo(jsonlib.dumps(explanation.as_json(), indent=2))
        return
    show(explanation, made, str(name))


def _size(latents: str | None, pixels: str | None) -> tuple[int, int]:
    from fp_lab.explain import latent_size

    if pixels is None:
        return latent_size("latents", "60x104" if latents is None else latents)
    if latents is not None:
        raise ValueError(f"pixels: got {pixels!r} beside {latents!r} latents; give --pixels or --latents")
    return latent_size("pixels", pixels)


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
    """Draw the requested pictures, if any; return whether there are any."""
    if (name is None) == (page is None):
        raise ValueError("give a NAME, such as td_f16k4f2k2f1k1_g9, or --page FILE.md")
    if sum((json, picture is not None, page is not None)) > 1:
        raise ValueError("give one of --json, --picture and --page")
    if picture is None and page is None:
        return False
    from fp_lab.lab.report.pictures import draw as pictures

    if page is not None:
        for drawn in pictures.draw_page(page):
            typer.echo(drawn)
    elif name is not None and picture is not None:
        typer.echo(pictures.draw(name, picture, *size, frames, protocol))
    return True
