"""Values from files and from the command line, in layers, made into typed settings.

The only files that know OmegaConf are this one and its neighbours.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fp_lab.lab.experiments import find_experiment
from fp_lab.lab.recipes import PARTS

Settings = TypeVar("Settings")

BASE_KEY = "base"
BASELINE_KEYS = ("baseline", "protocol", "like")
_REPLACED = {
    "model.guidance": "objective.distilled_guidance for training and sampling.distilled_guidance for sampling"
}
"""Keys of older files, and what stands for them now."""


@dataclass(frozen=True)
class Layer:
    """Values from one place, nested as in YAML, and the name of that place for messages."""

    origin: str
    values: Mapping[str, Any]


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain containers."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError) as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, expected a mapping of keys to values")
    return {str(key): value for key, value in content.items()}


def read_layers(path: Path) -> list[Layer]:
    """A file and the files that it is based on, the outermost base first."""
    chain: list[Layer] = []
    read: list[Path] = []
    following: Path | None = path
    while following is not None:
        if any(following.samefile(seen) for seen in read):
            raise ValueError(f"{path}: its chain of bases comes back to {following}")
        read.append(following)
        values = read_yaml(following)
        base = values.pop(BASE_KEY, None)
        chain.insert(0, Layer(str(following), values))
        following = None if base is None else find_experiment(str(base), beside=following)
    return chain


def override_layer(overrides: Sequence[str], origin: str = "command line") -> Layer:
    """``a.b=1`` entries as a layer; values are read as YAML."""
    for text in overrides:
        if "=" not in text or text.startswith("="):
            raise ValueError(f"{origin}: got {text!r}, expected key=value such as training.steps=200")
    values = OmegaConf.to_container(OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(values, dict)
    return Layer(origin, {str(key): value for key, value in values.items()})


def dotted_layer(values: Mapping[str, Any], origin: str) -> Layer:
    """Values under dotted keys, such as ``training.steps: 3``, as a layer."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = str(key).split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return Layer(origin, nested)


def yaml_of(values: Mapping[str, Any]) -> str:
    """Plain containers as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(values)))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return flat


def typed(kind: type[Settings], layers: Sequence[Layer]) -> Settings:
    """Merge layers, later ones over earlier ones, into frozen settings.

    Raises:
        ValueError: names the key, its place, what came and what was expected.
    """
    schema, known = OmegaConf.structured(kind), [*PARTS, *BASELINE_KEYS, *_known_paths(kind)]
    leaves = [leaf for layer in layers for leaf in _leaves(layer.values, kind, layer.origin, known=known)]
    merged = dotted_layer({leaf.path: leaf.value for leaf in leaves}, "all")
    try:
        whole = OmegaConf.merge(schema, merged.values)
        numbers = flatten(cast(dict[str, Any], OmegaConf.to_container(whole, resolve=True)))
        refused = _not_finite(numbers) or _refused(whole)
        if not refused:
            settings = OmegaConf.to_object(whole)
    except OmegaConfBaseException as error:
        for leaf in leaves:
            _check_leaf(schema, leaf)
        raise ValueError(f"{layers[-1].origin}: {error}") from error
    if refused:
        raise ValueError(_with_origin(refused, leaves))
    assert isinstance(settings, kind)
    return settings


def _not_finite(values: Mapping[str, Any]) -> str:
    """Which value is NaN or infinite; empty if none is."""
    for path, value in values.items():
        numbers = value if isinstance(value, (list, tuple)) else [value]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            return f"{path}: got {value}, expected finite numbers"
    return ""


def _refused(node: Any, path: str = "") -> str:
    """Why settings are refused by their own class, with the whole key, innermost ones first; empty if not."""
    for key, inner in node.items():
        if OmegaConf.is_dict(inner) and (found := _refused(inner, f"{path}.{key}" if path else str(key))):
            return found
    try:
        OmegaConf.to_object(node)
    except OmegaConfBaseException:
        raise
    except ValueError as error:
        told = not path or str(error).startswith((f"{path}.", f"{path}:"))
        return str(error) if told else f"{path}: {error}"
    return ""


def _with_origin(fault: str, leaves: Sequence["_Leaf"]) -> str:
    """What is wrong with a key, behind the place that has set it last, or else one beside it."""
    key = fault.partition(":")[0]
    while key:
        origins = [leaf.origin for leaf in leaves if f"{leaf.path}.".startswith(f"{key}.")]
        if origins:
            return f"{origins[-1]}: {fault}"
        key = key.rpartition(".")[0]
    return fault


@dataclass(frozen=True)
class _Leaf:
    origin: str
    path: str
    value: Any
    expected: Any


def _leaves(
    values: Mapping[str, Any], kind: type, origin: str, prefix: str = "", *, known: Sequence[str]
) -> Iterator[_Leaf]:
    """Every value with its dotted path and expected type; refuses keys that do not exist."""
    hints = get_type_hints(kind)
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in hints:
            inner = next(iter(flatten(value, f"{path}.")), path) if isinstance(value, Mapping) else path
            raise ValueError(f"{origin}: unknown key {inner!r}{_hint(inner, known)}")
        if not is_dataclass(hints[key]):
            yield _Leaf(origin, path, value, hints[key])
        elif isinstance(value, Mapping):
            assert isinstance(hints[key], type)
            yield from _leaves(value, hints[key], origin, f"{path}.", known=known)
        else:
            keys = ", ".join(field.name for field in fields(hints[key]))
            raise ValueError(f"{origin}: {path}: got {value!r}, expected a mapping with keys among {keys}")


def _check_leaf(schema: Any, leaf: _Leaf) -> None:
    """Say what is wrong with a value that does not fit; one that refers to others is not looked at."""
    if isinstance(leaf.value, str) and "${" in leaf.value:
        return
    try:
        OmegaConf.merge(schema, dotted_layer({leaf.path: leaf.value}, leaf.origin).values)
    except OmegaConfBaseException as error:
        wanted = leaf.expected.__name__ if type(leaf.expected) is type else str(leaf.expected)
        raise ValueError(
            f"{leaf.origin}: {leaf.path}: got {leaf.value!r} ({type(leaf.value).__name__}), "
            f"expected {wanted.replace('typing.', '')}"
        ) from error


def _hint(path: str, known: Sequence[str]) -> str:
    if path in _REPLACED:
        return f"; use {_REPLACED[path]}"
    last = path.rpartition(".")[2]
    close = get_close_matches(path, known, n=1, cutoff=0.75)
    close = close or [name for name in known if name.rpartition(".")[2] == last][:3]
    close = close or get_close_matches(path, known, n=1)
    return (
        f"; did you mean {' or '.join(close)}?"
        if close
        else f"; the keys are {', '.join(k for k in known if '.' not in k)}"
    )


def _known_paths(kind: type, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(kind).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint) and isinstance(hint, type):
            yield from _known_paths(hint, f"{prefix}{name}.")
