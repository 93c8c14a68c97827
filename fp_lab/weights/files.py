"""Weights and configs of a model's folder: how they are read, and their sha256."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
UNEXPECTED = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""Errors by which classes answer settings that are not theirs; too deep JSON is a RuntimeError."""


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
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(f"{path}: is {_state(path)}, expected the config of a model") from error
    if not isinstance(stored, dict):
        raise ValueError(f"{path}: holds a {type(stored).__name__}, expected the config of a model")
    return stored


@contextmanager
def building(source: Path | str) -> Iterator[None]:
    """Whatever a config does to a class that expects other settings is said of where the config is from.

    Args:
        source: of the config, for the message.

    Raises:
        ValueError: no model can be built of it.
    """
    try:
        yield
    except torch.OutOfMemoryError:  # a RuntimeError that says nothing of a config
        raise
    except UNEXPECTED as error:
        if isinstance(error, ValueError) and str(source) in str(error):
            raise
        raise ValueError(
            f"{source}: describes no model that can be built ({type(error).__name__}: {error}); it was "
            "changed or is of another version, so write or download it again"
        ) from error


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hex digest of tensors with their names, whatever their device and order."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        content = value.detach().cpu().contiguous().flatten().view(torch.uint8)  # numpy has no bfloat16
        digest.update(name.encode())
        digest.update(content.numpy().data)
    return digest.hexdigest()


def _state(path: Path) -> str:
    if not path.is_file():
        return "missing"
    return "damaged" if path.stat().st_size else "empty"
