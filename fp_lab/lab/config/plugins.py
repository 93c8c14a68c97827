"""Plugins that a user names: imported, and refused where they register nothing."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from fp_data.worlds import WORLDS
from fp_lab.registry import load_plugins, require_registering


def use_plugins(names: Sequence[str]) -> None:
    """Import plugins that a file or a command line names, see `load_plugins`.

    Raises:
        ValueError: one cannot be imported, or registers nothing.
    """
    load_plugins(names)
    require_registering(names, _beside_registries)


def _beside_registries() -> Iterator[Any]:
    """Yield worlds and estimators, whose packages keep them themselves."""
    yield from WORLDS.values()
    # only as it was imported, by a plugin with estimators: settings know nothing of metrics
    for family in getattr(sys.modules.get("fp_metrics"), "FAMILIES", {}).values():
        yield from family.values()
