"""The picture of any name, and all pictures that a page shows."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from fp_lab.baselines import BASELINES
from fp_lab.explain.calls import structure
from fp_lab.explain.masks import reading
from fp_lab.lab.report.pictures.attention import draw_reading
from fp_lab.lab.report.pictures.recipe import draw_structure

_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


def draw(
    name: str,
    path: Path,
    height: int = 60,
    width: int = 104,
    frames: int | None = None,
    protocol: str = "paper",
) -> Path:
    """Draw the calls of an ablation name, or the context and mask of a baseline.

    Args:
        name: An ablation name, or a key of `fp_lab.baselines.BASELINES`.
        path: Of a ``.png`` or ``.svg``.
        height: Latent rows.
        width: Latent columns.
        frames: Length of the example video in latent frames; a baseline's has always the same.
        protocol: Of a baseline.

    Raises:
        RecipeError: The name cannot be read.
        ValueError: Another kind of file, or a size or length without meaning.
    """
    if name in BASELINES:
        return draw_reading(reading(name, height, width, protocol), path)
    return draw_structure(structure(name, height, width, frames), path)


def linked(page: Path) -> tuple[Path, ...]:
    """The pictures that a Markdown page shows, each once, in order."""
    links = [unquote(link) for link in _IMAGE.findall(page.read_text(encoding="utf-8"))]
    return tuple(page.parent / link for link in dict.fromkeys(links))


def draw_page(page: Path) -> Iterator[Path]:
    """Draw every picture that a Markdown page shows; ``NAME.png`` is the picture of NAME.

    Raises:
        ValueError: A picture of something else.
    """
    for picture in linked(page):
        yield draw(picture.stem, picture)
