"""Drawing of the picture of a name, and of all pictures of a page."""

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
        name: Ablation name, or key of `fp_lab.baselines.BASELINES`.
        path: Path of a ``.png`` or ``.svg``.
        height: Number of latent rows.
        width: Number of latent columns.
        frames: Length of the example video in latent frames; fixed for baselines.
        protocol: Protocol of a baseline.

    Raises:
        RecipeError: The name cannot be read.
        ValueError: The file is of another kind, or a size or length is invalid.
    """
    if name in BASELINES:
        return draw_reading(reading(name, height, width, protocol), path)
    return draw_structure(structure(name, height, width, frames), path)


def linked(page: Path) -> tuple[Path, ...]:
    """List the pictures of a Markdown page, each once, in order."""
    links = [unquote(link) for link in _IMAGE.findall(page.read_text(encoding="utf-8"))]
    return tuple(page.parent / link for link in dict.fromkeys(links))


def draw_page(page: Path) -> Iterator[Path]:
    """Draw every picture of a Markdown page; ``NAME.png`` is the picture of NAME.

    Raises:
        ValueError: The page shows another kind of picture.
    """
    for picture in linked(page):
        yield draw(picture.stem, picture)
