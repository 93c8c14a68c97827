"""Frozen dataclasses from plain values: what JSON, checkpoints and command lines hold."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

Made = TypeVar("Made")


def from_plain(kind: type[Made], stored: Mapping[str, Any]) -> Made:
    """A dataclass from plain values, the inverse of `dataclasses.asdict`.

    Mappings become the dataclass that their field is annotated with, lists become tuples.

    Args:
        kind: the dataclass.
        stored: values by field; fields that are missing keep their defaults.

    Raises:
        TypeError: a field that the dataclass does not have.
        ValueError: what the dataclass refuses.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints.get(name), value) for name, value in stored.items()})


def _value(hint: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        nested = next((part for part in (hint, *get_args(hint)) if is_dataclass(part)), None)
        return dict(value) if nested is None else from_plain(nested, value)  # type: ignore[arg-type]
    if isinstance(value, list | tuple):
        return tuple(_value(None, item) for item in value)
    return value
