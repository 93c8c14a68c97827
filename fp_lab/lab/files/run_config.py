"""The settings that a run was made with, as its ``config.yaml`` has them: plain containers (no torch)."""

from pathlib import Path
from typing import Any

import yaml

from fp_data.damaged import naming_damage

_DEEPEST = 100
"""Lists and mappings in each other. A parser in C has no limit of its own but that of its stack."""


def run_settings(path: Path) -> dict[str, Any]:
    """Settings, nested as in the file; empty where there is none.

    Args:
        path: ``config.yaml`` of a run.

    Raises:
        ValueError: it is damaged.
    """
    if not path.is_file():
        return {}
    with naming_damage(path, "the command that made the run writes it anew"):
        return parse_settings(path.read_bytes())


def parse_settings(text: str | bytes) -> dict[str, Any]:
    """Settings as `fp_lab.lab.config.to_yaml` writes them.

    Raises:
        ValueError: no YAML, or one that nothing here writes: deep, with aliases, or no mapping of mappings.
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
    """What would take the stack or the memory of whoever builds it: events are read one by one."""
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
