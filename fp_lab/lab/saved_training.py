"""What an interrupted training has saved, if it can be read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fp_data.damaged import set_aside


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of lightning's, on the CPU; nothing in it is unpickled but tensors and plain data.

    Raises:
        ValueError: it is damaged, or no checkpoint.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        assert isinstance(found["global_step"], int)
    # torch has many errors for damaged zip files, pickles and tensors, and its advice is to unpickle
    except Exception as error:
        raise ValueError(
            f"{path}: is damaged, or no checkpoint of a training ({type(error).__name__})"
        ) from None
    return dict(found)


def usable_checkpoint(path: Path, say: Callable[[str], object]) -> dict[str, Any] | None:
    """The same; None where there is none, or a damaged one, which is set aside."""
    if not path.is_file():
        return None
    try:
        return read_checkpoint(path)
    except ValueError as error:
        say(f"{error}; it is now {set_aside(path).name}, and the training begins again")
        return None
