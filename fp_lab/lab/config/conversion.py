"""Conversion of plain values into typed settings, by OmegaConf's rules; text stays as it is."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, make_dataclass, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fp_lab.lab.config.field_types import field_types, settings_class


def build_settings(kind: type, values: Mapping[str, Any], path: str = "", default: Any = None) -> Any:
    """Build settings from nested values over the defaults, the innermost settings first.

    Args:
        kind: dataclass of the settings.
        values: values by field name, nested.
        path: dotted path of the settings, for messages.
        default: settings that the values override; None: the defaults of the dataclass.

    Raises:
        ValueError: a value does not fit; the message begins with its dotted key.
    """
    hints, known = field_types(kind), {part.name: part for part in fields(kind)}
    given = {}
    for name, value in values.items():
        key = f"{path}.{name}" if path else name
        beneath = _default(known[name]) if default is None else getattr(default, name)
        inner = settings_class(hints[name])
        if inner and isinstance(value, Mapping):
            given[name] = build_settings(inner, value, key, beneath)
        elif get_origin(hints[name]) is dict and isinstance(value, Mapping):
            given[name] = beneath | convert(hints[name], value, key)
        else:
            given[name] = convert(hints[name], value, key)
    try:
        return kind(**given) if default is None else replace(default, **given)
    except ValueError as error:
        named = not path or str(error).startswith((f"{path}.", f"{path}:"))
        raise ValueError(str(error) if named else f"{path}: {error}") from error


def value_of(kind: type, key: str, value: Any) -> Any:
    """Convert a value to the type of the setting with a dotted key; unchanged for an unknown key.

    Raises:
        ValueError: the value does not fit; the message begins with the key.
    """
    hint: Any = kind
    for name in key.split("."):
        settings = settings_class(hint)
        hint = field_types(settings).get(name) if settings else None
    if (settings := settings_class(hint)) and isinstance(value, Mapping):
        return build_settings(settings, value, key)
    return value if hint is None else convert(hint, value, key)


def convert(hint: Any, value: Any, key: str) -> Any:
    """Convert a value to the type of a field.

    Raises:
        ValueError: the value does not fit, or is a number that is not finite; the message begins with the
            key.
    """
    if _is_as_typed(hint, value):
        return tuple(value) if isinstance(value, list) else value
    if _is_plain(hint, value):  # most are, and OmegaConf takes its time
        return value
    converted = _converted(hint, value)
    if converted is _MISFIT:
        wanted = hint.__name__ if type(hint) is type else str(hint).replace("typing.", "")
        raise ValueError(f"{key}: got {value!r} ({type(value).__name__}), expected {wanted}")
    numbers = converted if isinstance(converted, tuple) else [converted]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise ValueError(f"{key}: got {converted}, expected finite numbers")
    return converted


_MISFIT = object()


def _is_plain(hint: Any, value: Any) -> bool:
    """Return whether a value needs no conversion: a number of the exact type, or a word of a `Literal`."""
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    return type(value) is hint and (hint in (bool, int) or (hint is float and math.isfinite(value)))


def _is_as_typed(hint: Any, value: Any) -> bool:
    """Return whether a value is free text or a list of it, which needs no conversion."""
    if isinstance(value, list) and get_origin(hint) is tuple:
        return all(_is_as_typed(get_args(hint)[0], item) for item in value) and Ellipsis in get_args(hint)
    return isinstance(value, str) and get_origin(hint) is not tuple and str in (hint, *get_args(hint))


def _converted(hint: Any, value: Any) -> Any:
    if _is_special(value) or (settings_class(hint) and value is not None):
        return _MISFIT
    if settings_class(hint):
        return None if type(None) in get_args(hint) else _MISFIT
    try:
        return OmegaConf.to_object(OmegaConf.merge(_schema(hint), {"value": value})).value  # type: ignore[union-attr]
    except (OmegaConfBaseException, TypeError):  # the latter of a mapping for a list
        return _MISFIT


def _is_special(value: Any) -> bool:
    """Return whether OmegaConf would take a text, or a nested one, for a reference or a missing value."""
    if isinstance(value, (list, tuple)):
        return any(_is_special(item) for item in value)
    if isinstance(value, Mapping):
        return any(_is_special(item) for item in value.values())
    return isinstance(value, str) and ("${" in value or value == "???")


@cache
def _schema(hint: Any) -> Any:
    return OmegaConf.structured(make_dataclass("One", [("value", hint)]))


def _default(known: "Field[Any]") -> Any:
    if known.default_factory is not MISSING:
        return known.default_factory()
    return None if known.default is MISSING else known.default
