"""Settings of a grid's arms: the product of its axes without excluded entries, and further arms."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fp_lab.lab.config import Document, ExperimentConfig, value_of


def differences(path: Path, file: Document) -> Iterator[tuple[dict[str, Any], Mapping[str, int]]]:
    """Return the settings of each arm, and the lines of their keys.

    Args:
        path: path of the grid file, for messages.
        file: content of the file: ``axes``, ``exclude`` and ``arms``.

    Raises:
        ValueError: a key is wrong; the message names it and the file.
    """
    axes = _axes(path, file)
    excluded = [_excluded(path, file, axes, number) for number in range(len(_list(path, file, "exclude")))]
    matched: set[int] = set()
    further = _list(path, file, "arms")
    if axes or not further:
        for chosen in itertools.product(*axes.values()):
            own = dict(zip(axes, chosen, strict=True))
            here = {n for n, entry in enumerate(excluded) if all(_same(k, own[k], entry[k]) for k in entry)}
            matched |= here
            if not here:
                yield own, file.below("axes")
    for number, own in enumerate(further):
        if not isinstance(own, Mapping):
            raise _wrong(path, file, f"arms.{number}", own, "keys with values such as {recipe: g9}")
        yield dict(own), file.below(f"arms.{number}")


def _axes(path: Path, file: Document) -> dict[str, list[Any]]:
    """Values of each axis by its dotted key, each value once."""
    axes: dict[str, list[Any]] = {}
    for key, values in _items(path, file, "axes", file.values.get("axes") or {}):
        if not isinstance(values, list) or not values:
            raise _wrong(path, file, f"axes.{key}", values, "a list of values")
        if key in axes:
            raise _wrong(
                path, file, f"axes.{key}", values, f"one list of this key, which has {axes[key]} too"
            )
        typed = [_typed(key, value) for value in values]  # once: an axis may have hundreds
        axes[key] = [value for n, value in enumerate(values) if typed[n] not in typed[:n]]
    return axes


def _excluded(path: Path, file: Document, axes: Mapping[str, Sequence[Any]], number: int) -> dict[str, Any]:
    """One entry of ``exclude``, by the keys of the axes."""
    place = f"exclude.{number}"
    entry = dict(_items(path, file, place, file.values["exclude"][number], axes))
    for key, value in entry.items():
        if key not in axes:
            close = get_close_matches(key, axes, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise _wrong(path, file, f"{place}.{key}", value, f"a key of the axes ({', '.join(axes)}){hint}")
        if not any(_same(key, value, of_axis) for of_axis in axes[key]):
            raise _wrong(path, file, f"{place}.{key}", value, f"one of the axis: {axes[key]}")
    if not entry:
        raise _wrong(path, file, place, entry, "keys of the axes with values")
    return entry


def _items(
    path: Path,
    file: Document,
    place: str,
    values: Any,
    known: Mapping[str, Any] | None = None,
    prefix: str = "",
) -> Iterator[tuple[str, Any]]:
    """Values by dotted key, nested or not; those of known keys unchanged."""
    if not isinstance(values, Mapping):
        raise _wrong(path, file, place, values, "keys with values")
    for key, value in values.items():
        whole = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and whole not in (known or {}):
            yield from _items(path, file, place, value, known, f"{whole}.")
        else:
            yield whole, value


def _same(key: str, one: Any, other: Any) -> bool:
    """Return whether two values of a setting are equal, however they are written."""
    return bool(_typed(key, one) == _typed(key, other))


def _typed(key: str, value: Any) -> tuple[str, Any]:
    try:
        made = value_of(ExperimentConfig, key, value)
    except ValueError:  # said where the arm is made
        made = value
    return type(made).__name__, made


def _list(path: Path, file: Document, key: str) -> list[Any]:
    values = file.values.get(key) or []
    if not isinstance(values, list):
        raise _wrong(path, file, key, values, "a list")
    return values


def _wrong(path: Path, file: Document, key: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"{path}: {key}: got {value!r}, expected {expected}{file.line(key)}")
