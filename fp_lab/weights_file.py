"""Weights and configs of a model's folder, as they are read from disk: what is damaged is named."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: is {_state(path)}, expected a safetensors file") from error


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object that says how a model is built.

    Raises:
        ValueError: it is not there, or damaged.
    """
    try:
        stored = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: is {_state(path)}, expected the config of a model") from error
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: holds a {type(stored).__name__}, expected the config of a model")
    return stored


def _state(path: Path) -> str:
    if not path.is_file():
        return "missing"
    return "damaged" if path.stat().st_size else "empty"
