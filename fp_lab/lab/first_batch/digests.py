"""Digests of nested values with tensors: two are equal where the values are, to the bit."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def digest_of(value: Any) -> str:
    """Return the sha256 digest of a value: tensors, dataclasses, sequences and mappings of them, and others.

    Others count by their text, such as numbers and None.
    """
    total = hashlib.sha256()
    for part in _parts(value):
        total.update(part)
    return total.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"{tuple(value.shape)} {value.dtype} ".encode()
        yield value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    elif is_dataclass(value):
        yield type(value).__name__.encode()
        for field in fields(value):
            yield from _parts(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for key, own in value.items():
            yield str(key).encode()
            yield from _parts(own)
    elif isinstance(value, tuple | list):
        yield f"[{len(value)}]".encode()
        for own in value:
            yield from _parts(own)
    else:
        yield f"{value!r};".encode()
