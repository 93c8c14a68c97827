"""Bounds of counts in settings (standard library only)."""

MOST = 10**9
"""Largest count of anything: frames, pixels of a side, videos, objects."""


def check_counts(least: int = 1, **counts: int | None) -> None:
    """Refuse counts that cannot be meant; None is let through.

    Args:
        least: smallest count.
        **counts: by the names of their settings.

    Raises:
        ValueError: names the setting, what came and what was expected.
    """
    for name, count in counts.items():
        if count is not None and not least <= count <= MOST:
            raise ValueError(f"{name}: got {count}, expected a whole number from {least} to {MOST}")
