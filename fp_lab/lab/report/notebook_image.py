"""Pictures of a report for notebooks: narrow, with few colours, small."""

from pathlib import Path

from PIL import Image

_COLOURS = 128


def inline(path: Path, width: int = 900) -> Image.Image:
    """Return a picture that a notebook shows and stores as a small PNG.

    Args:
        path: path of a PNG, such as those in a grid's ``report`` folder.
        width: largest width in pixels; a narrower picture keeps its width.

    Raises:
        ValueError: there is no such picture.
    """
    if not path.is_file():
        raise ValueError(f"no picture at {path}; fp-lab compare GRID --report draws those of a grid")
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((width, small.height), Image.Resampling.LANCZOS, reducing_gap=None)
    # a line has few pixels and must keep its colour: coverage counts, not how often a colour is there
    return small.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
