"""Where the models are that are shipped with fp_lab (no torch)."""

from importlib import resources
from pathlib import Path


def shipped_folder(name: str) -> Path:
    """The folder of a model that is shipped with fp_lab (``codec`` or ``base``)."""
    return Path(str(resources.files("fp_lab"))) / "pretrained" / name
