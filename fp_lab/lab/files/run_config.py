"""Settings of a run from its ``config.yaml``, as plain containers (no torch)."""

from pathlib import Path
from typing import Any

import yaml

from fp_data.damaged import naming_damage

_DEEPEST = 100
"""Largest depth of nested lists and mappings. A parser in C has no limit but that of its stack."""


def run_settings(path: Path) -> dict[str, Any]:
    """Read the settings, nested as in the file; empty where there is no file.

    Args:
        path: path of the run's ``config.yaml``.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.is_file():
        return {}
    with naming_damage(path, "the command that made the run writes it anew"):
        return parse_settings(path.read_bytes())


def parse_settings(text: str | bytes) -> dict[str, Any]:
    """Parse settings as `fp_lab.lab.config.to_yaml` writes them.

    Raises:
        ValueError: no YAML, or YAML that fp_lab never writes: too deep, with aliases, or no mapping of
            mappings.
    """
    try:
        _refuse_bombs(text)
        settings = yaml.load(text, yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not isinstance(settings, dict):
        raise ValueError(f"got a {type(settings).__name__}, expected a mapping of settings")
    for name in ("data", "evaluation", "model"):
        if not isinstance(settings.get(name, {}), dict):
            raise ValueError(f"{name}: got {settings[name]!r:.60}, expected a mapping of settings")
    return settings


def _refuse_bombs(text: str | bytes) -> None:
    """Refuse YAML that would exhaust stack or memory when built; events are read one by one."""
    depth = 0
    for event in yaml.parse(text, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"got the alias *{event.anchor}, expected values themselves")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
