"""Settings that are text, by the types of their fields; text stays as it was written."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

_BESIDE = {
    "base": str | None,
    "name": str,
    "recipe": str,
    "compression": str,
    "order": str,
    "tail": str | None,
    "baseline": str,
    "protocol": str | None,
    "like": str,
}
"""Types of keys of experiment and grid files that are no fields of the settings."""


@cache
def text_settings(kind: type) -> Mapping[str, Any]:
    """Dotted keys of the settings that are or hold text, with their types."""
    return _BESIDE | dict(_texts(kind))


@cache
def field_types(kind: type) -> Mapping[str, Any]:
    """Types of the fields of a dataclass, by name; cached, as evaluating annotations is slow."""
    return get_type_hints(kind)


@cache
def settings_class(hint: Any) -> type | None:
    """Dataclass that a field holds, also where null is allowed; None for other fields."""
    return next((part for part in (hint, *get_args(hint)) if is_dataclass(part)), None)  # type: ignore[return-value]


def is_text(hint: Any) -> bool:
    """Return whether a field is one text: a str or one of some words, or null where allowed."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Literal:
        return all(isinstance(word, str) for word in parts)
    return hint is str or (takes_null(hint) and len(parts) == 1 and is_text(parts[0]))


def takes_null(hint: Any) -> bool:
    """Return whether a field may be null."""
    return NoneType in get_args(hint)


def _texts(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, hint in field_types(kind).items():
        if inner := settings_class(hint):
            yield from _texts(inner, f"{prefix}{name}.")
        elif is_text(hint) or (get_origin(hint) is tuple and is_text(get_args(hint)[0])):
            yield f"{prefix}{name}", hint
