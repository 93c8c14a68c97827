"""Layers of values, from files and the command line, merged into typed settings."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_origin

from fp_lab.lab.config.conversion import build_settings
from fp_lab.lab.config.field_types import field_types, settings_class, takes_null
from fp_lab.lab.config.yaml_files import read_value, read_yaml
from fp_lab.lab.files.experiments import find_experiment
from fp_lab.recipe.parts import PARTS

Settings = TypeVar("Settings")

BASE_KEY = "base"
BASELINE_KEYS = ("baseline", "protocol", "like")
_REPLACED = {
    "model.guidance": "objective.distilled_guidance for training and sampling.distilled_guidance for sampling"
}
"""Keys of older files and their replacements."""


@dataclass(frozen=True)
class Layer:
    """Values from one source.

    Attributes:
        origin: name of the source, for messages.
        values: values of the layer, nested as in YAML.
        lines: line number of each dotted key, for a file.
    """

    origin: str
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, key: str) -> str:
        """Line of a key, as the end of a message; empty where it is in no file."""
        return f" (line {self.lines[key]})" if key in self.lines else ""


def read_layers(path: Path, kind: type) -> list[Layer]:
    """Read a file and the files that it is based on, the outermost base first.

    Args:
        path: path of the file.
        kind: dataclass of the settings in the file.

    Raises:
        ValueError: a file cannot be read, or is based on itself.
    """
    chain: list[Layer] = []
    read: list[Path] = []
    following: Path | None = path
    while following is not None:
        if any(following.samefile(seen) for seen in read):
            raise ValueError(f"{path}: its chain of bases comes back to {following}")
        read.append(following)
        file = read_yaml(following, kind)
        base = file.values.get(BASE_KEY)
        own = {key: value for key, value in file.values.items() if key != BASE_KEY}
        chain.insert(0, dotted_layer(own, str(following), file.lines))
        following = None if base is None else find_experiment(str(base), beside=following)
    return chain


def override_layer(overrides: Sequence[str], kind: type, origin: str = "command line") -> Layer:
    """Parse ``a.b=1`` entries into a layer: text settings take the text as it is, others are YAML.

    Args:
        overrides: ``key=value`` entries; a later one replaces earlier ones of the same key, of keys below it,
            and the value of a key above it.
        kind: dataclass of the settings that they belong to.
        origin: source of the entries, for messages.

    Raises:
        ValueError: no ``key=value``, or a value that cannot be read.
    """
    values: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ValueError(f"{origin}: got {text!r}, expected key=value such as training.steps=200")
        try:
            values = {old: kept for old, kept in values.items() if not _replaces(key, old, kept)}
            values[key] = read_value(value, key, kind)
        except ValueError as error:
            raise ValueError(f"{origin}: {key}: got {value!r}, which cannot be read: {error}") from error
    return dotted_layer(values, origin)


def _replaces(key: str, old: str, value: Any) -> bool:
    """Return whether a later key replaces an older one completely."""
    above = key.startswith(f"{old}.") and not isinstance(value, Mapping)
    return key == old or old.startswith(f"{key}.") or above


def dotted_layer(values: Mapping[str, Any], origin: str, lines: Mapping[str, int] | None = None) -> Layer:
    """Build a layer from values under dotted keys, such as ``training.steps: 3``, nested ones or both.

    Raises:
        ValueError: a key occurs twice, or has both a value and keys below it.
    """
    nested: dict[str, Any] = {}
    for path, value in _pairs(values):
        *parents, last = path.split(".")
        place = nested
        for number, parent in enumerate(parents, start=1):
            above, place = place, place.setdefault(parent, {})
            if not isinstance(place, dict):
                upper = ".".join(parents[:number])
                raise ValueError(
                    f"{origin}: {path}: got {value!r}, and {upper} is {above[parent]!r}; expected one of them"
                )
        if value == {} and isinstance(place.setdefault(last, {}), dict):
            continue
        if last in place:
            raise ValueError(
                f"{origin}: {path}: got {place[last]!r} and {value!r}; expected it once, dotted or nested"
            )
        place[last] = value
    return Layer(origin, nested, lines or {})


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten nested mappings into one with dotted keys; an empty mapping is a value."""
    return dict(_pairs(values))


def plain_settings(settings: Any) -> Any:
    """Return settings as nested mappings by field name; other values as they are.

    As `dataclasses.asdict`, but without its copy of every value: a grid may have a thousand arms.
    """
    if isinstance(settings, list | tuple):
        return type(settings)(map(plain_settings, settings))
    names = _field_names(type(settings))  # type: ignore[arg-type]  # a class is hashable
    return settings if names is None else {name: plain_settings(getattr(settings, name)) for name in names}


@cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    return tuple(each.name for each in fields(kind)) if is_dataclass(kind) else None


def _pairs(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _pairs(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def typed(kind: type[Settings], layers: Sequence[Layer]) -> Settings:
    """Merge layers, later ones over earlier ones, into frozen settings.

    Raises:
        ValueError: a key or value does not fit; the message names the key, its source, what came and what was
            expected.
    """
    known = _known(kind)  # type: ignore[arg-type]  # a class is hashable
    leaves = [leaf for layer in layers for leaf in _leaves(layer, layer.values, kind, known)]
    values: dict[str, Any] = {}
    for path, value in leaves:
        *parents, last = path.split(".")
        place = values
        for parent in parents:
            if not isinstance(place.get(parent), dict):
                place[parent] = {}
            place = place[parent]
        if value != {} or not isinstance(place.get(last), dict):
            place[last] = value
    try:
        settings = build_settings(kind, values)
    except ValueError as error:
        raise ValueError(with_origin(str(error), layers)) from error
    assert isinstance(settings, kind)
    return settings


def with_origin(fault: str, layers: Sequence[Layer]) -> str:
    """Prefix a fault with the source and line that set its key last, or else a neighbouring key.

    Args:
        fault: message that begins with the dotted key.
        layers: layers of values; later ones override earlier ones.
    """
    begin = re.match(r"[\w.]+", fault)
    key = begin[0] if begin else ""
    while key:
        for layer in reversed(layers):
            paths = [path for path in flatten(layer.values) if f"{path}.".startswith(f"{key}.")]
            if paths:
                first, *others = fault.split("\n")
                return "\n".join([f"{layer.origin}: {first}{layer.line(paths[-1])}", *others])
        key = key.rpartition(".")[0]
    return fault


def _leaves(
    layer: Layer, values: Mapping[str, Any], kind: type, known: Sequence[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield every value of a layer with its dotted path; refuse unknown keys."""
    hints = field_types(kind)
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in hints:
            inner = next(iter(flatten({path: value})))
            raise ValueError(f"{layer.origin}: unknown key {inner!r}{_hint(inner, known)}{layer.line(path)}")
        settings, may_be_null = settings_class(hints[key]), takes_null(hints[key])
        if settings and isinstance(value, Mapping):
            if may_be_null:
                yield path, {}
            yield from _leaves(layer, value, settings, known, f"{path}.")
        elif settings and not (value is None and may_be_null):
            keys = ", ".join(part.name for part in fields(settings))
            fault = f"{path}: got {value!r}, expected a mapping with keys among {keys}"
            raise ValueError(f"{layer.origin}: {fault}{layer.line(path)}")
        elif get_origin(hints[key]) is dict and isinstance(value, Mapping):
            yield from ((f"{path}.{name}", own) for name, own in value.items())
        else:
            yield path, value


def _hint(path: str, known: Sequence[str]) -> str:
    if path in _REPLACED:
        return f"; use {_REPLACED[path]}"
    last = path.rpartition(".")[2]
    close = get_close_matches(path, known, n=1, cutoff=0.75)
    same = [name for name in known if name.rpartition(".")[2] == last]
    close = close or sorted(same, key=lambda name: name.count("."))[:3]
    close = close or get_close_matches(path, known, n=1)
    return (
        f"; did you mean {' or '.join(close)}?"
        if close
        else f"; the keys are {', '.join(k for k in known if '.' not in k)}"
    )


@cache
def _known(kind: type) -> tuple[str, ...]:
    """All keys that can be set, for "did you mean"."""
    return (*PARTS, *BASELINE_KEYS, *_known_paths(kind))


def _known_paths(kind: type, prefix: str = "") -> Iterator[str]:
    for name, hint in field_types(kind).items():
        yield f"{prefix}{name}"
        if inner := settings_class(hint):
            yield from _known_paths(inner, f"{prefix}{name}.")
