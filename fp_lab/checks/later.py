"""Declaration of what has an effect only later than in a first batch or section (standard library only)."""

from collections.abc import Mapping
from typing import Any

_ACTS_LATER = "acts_later"


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
