"""Declarations of settings that act after a first batch, by chance, or never (standard library only)."""

from collections.abc import Collection, Mapping
from typing import Any

_ACTS_LATER, _ACTS_BY_CHANCE = "acts_later", "acts_by_chance"


def acts_later(reason: str) -> Mapping[str, str]:
    """Metadata of a field of settings that may leave a first batch and first sections as they are.

    Classes and functions in a registry say the same by an attribute ``acts_later`` with the reason.

    Args:
        reason: when it begins to act, such as "once a section has drifted".
    """
    return {_ACTS_LATER: reason}


def why_later(metadata: Mapping[str, Any]) -> str:
    """Return the reason in a field's metadata; empty for settings that act at once."""
    return str(metadata.get(_ACTS_LATER, ""))


def acts_by_chance() -> Mapping[str, bool]:
    """Metadata of a share in [0, 1] of drawn videos or frames: a small one may miss a first batch."""
    return {_ACTS_BY_CHANCE: True}


def is_by_chance(metadata: Mapping[str, Any]) -> bool:
    """Return whether a field's metadata say that it is a share of what is drawn."""
    return bool(metadata.get(_ACTS_BY_CHANCE))


def idle_settings(settings: object) -> Collection[str]:
    """Return the names of settings that others switch off, such as those of a source that is not chosen.

    A dataclass of settings tells them by a method ``idle``; one without has none.
    """
    idle = getattr(settings, "idle", None)
    return () if idle is None else idle()
