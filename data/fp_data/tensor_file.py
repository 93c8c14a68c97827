"""Safetensors files of caches: all tensors with their metadata."""

from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from fp_data.damaged import naming_damage


def read_tensors(path: Path, advice: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file, mapped into memory, and its metadata.

    Args:
        path: the file.
        advice: what to do with a damaged one, for the end of the message.

    Raises:
        DamagedFile: it cannot be read.
    """
    with naming_damage(path, advice), safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return tensors, file.metadata() or {}
