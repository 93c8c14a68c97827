"""Where the models are that are shipped with fp_lab (no torch)."""

from functools import cache
from importlib import resources
from pathlib import Path


@cache
def shipped_folder(name: str) -> Path:
    """The folder of a model that is shipped with fp_lab (``codec`` or ``base``)."""
    return Path(str(resources.files("fp_lab"))) / "pretrained" / name


def own_folder(name: str, source: str | Path) -> Path:
    """The folder of a codec or a base of fp_lab's own: ``shipped``, or the one that is named."""
    return shipped_folder(name) if source == "shipped" else Path(source)
