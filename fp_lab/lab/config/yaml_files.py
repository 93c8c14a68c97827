"""Reading of YAML into plain containers; the values of text settings stay as written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fp_lab.lab.config.field_types import is_text, takes_null, text_settings

_TAG = "tag:yaml.org,2002:"
_TEXT, _NULL, _MERGE = f"{_TAG}str", f"{_TAG}null", f"{_TAG}merge"
_OF_GRIDS = ("common", "axes", "arms", "exclude")
"""Keys of a grid file whose entries are settings."""
_NUMBERS = {
    # 1e-3 is a number, as everywhere but in PyYAML; 16:9 is none, and 010 is not read to the base of 8
    f"{_TAG}int": r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$",
    f"{_TAG}float": r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$",
}


class _Loader(yaml.SafeLoader):
    """Safe YAML whose plain scalars are text, numbers, booleans or null; without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag in (f"{_TAG}bool", _NULL, _MERGE)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """Safe YAML with tuples as lists."""


_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
_Dumper.add_implicit_resolver(f"{_TAG}float", re.compile(_NUMBERS[f"{_TAG}float"]), list("-+.0123456789"))


@dataclass(frozen=True)
class Document:
    """A YAML file.

    Attributes:
        values: content, nested as in the file.
        lines: line number of each dotted key, from 1; lists count from 0, such as ``arms.0.label``.
    """

    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def below(self, key: str) -> dict[str, int]:
        """Lines of the keys below a key, by their path relative to it."""
        return {path[len(key) + 1 :]: line for path, line in self.lines.items() if path.startswith(f"{key}.")}

    def line(self, key: str) -> str:
        """Line of a key or its nearest parent, as the end of a message."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return f" (line {self.lines[key]})" if key else ""


def read_yaml(path: Path, kind: type) -> Document:
    """Read a YAML file with settings of a kind, or with a grid of them.

    Raises:
        ValueError: the file cannot be read, is no YAML, or has no keys; the message names file and line.
    """
    lines: dict[str, int] = {}
    try:
        content = _plain(path.read_text(encoding="utf-8-sig"), "", kind, lines)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: cannot be read as YAML: expected text in UTF-8 ({error})") from error
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: cannot be read as YAML: {error}") from error
    if content is None:
        raise ValueError(f"{path}: is empty, expected keys with values")
    if not isinstance(content, dict):
        raise ValueError(f"{path}: got a {type(content).__name__}, expected a mapping of keys to values")
    return Document(content, lines)


def read_value(text: str, key: str, kind: type) -> Any:
    """Read the value of one setting: the exact text where the setting is text, else YAML.

    Args:
        text: value as typed; ``null`` stands for None where the setting allows it.
        key: dotted key of the setting.
        kind: dataclass of the settings.

    Raises:
        ValueError: no YAML.
    """
    hint = text_settings(kind).get(key)
    if is_text(hint):
        return None if text == "null" and takes_null(hint) else text
    return _plain(text, key, kind, {})


def yaml_of(values: Mapping[str, Any]) -> str:
    """Write plain containers as YAML, with quotes wherever text could be taken for something else."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _plain(text: str, path: str, kind: type, lines: dict[str, int]) -> Any:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _Texts(text_settings(kind), lines).keep(node, path, path)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@dataclass
class _Texts:
    """Keeps the scalars of text settings as text, and records the lines of all keys."""

    settings: Mapping[str, Any]
    lines: dict[str, int]
    left: int = 100_000
    """Number of nodes that may still be read: aliases of aliases make a small file endless."""

    def keep(self, node: Node, path: str, place: str) -> None:
        """Visit a node at a dotted path; ``place`` is the path with list positions."""
        self.left -= 1
        if self.left < 0:
            raise yaml.MarkedYAMLError(problem="too many values", problem_mark=node.start_mark)
        if isinstance(node, MappingNode):
            self._keep_mapping(node, path, place)
        elif isinstance(node, SequenceNode):
            for number, item in enumerate(node.value):
                self.keep(item, path, f"{place}.{number}")
        elif (hint := self._hint(path)) and not (node.tag == _NULL and takes_null(hint)):
            node.tag = _TEXT

    def _keep_mapping(self, node: MappingNode, path: str, place: str) -> None:
        seen = set()
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            if name is None or name in seen:
                fault = "expected a key" if name is None else f"the key {name} is there twice"
                raise yaml.MarkedYAMLError(problem=fault, problem_mark=key.start_mark)
            seen.add(name)
            if key.tag == _MERGE:
                self.keep(value, path, place)
                continue
            key.tag = _TEXT
            inner = f"{place}.{name}" if place else name
            self.lines[inner] = key.start_mark.line + 1
            self.keep(value, f"{path}.{name}" if path else name, inner)

    def _hint(self, path: str) -> Any:
        """Type of the text setting at a path in a file of settings or of a grid; None for other places."""
        part, _, inner = path.partition(".")
        return self.settings.get(inner if part in _OF_GRIDS else path)
