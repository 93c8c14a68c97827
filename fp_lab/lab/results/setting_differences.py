"""Settings that differ between the runs of a comparison, beyond those in their names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]

_TOLD = ("recipe", "label", "protocol", "seed")
_SAME_FIGURES = (
    *(f"training.{key}" for key in ("accelerator", "checkpoint_every", "devices", "nodes", "strategy")),
    *("training.threads", "training.workers", "evaluation.batch", "evaluation.strips", "track."),
    "evaluation.without_rollout",
)
"""Prefixes of settings that change nothing but rounding."""
_OF_BASELINES = ("context.", "objective.history.", "sampling.history_")
"""Prefixes of settings that a baseline's name stands for."""
_MOST_SETTINGS, _MOST_ARMS = 8, 3


def compared_settings(config: Settings) -> dict[str, Any]:
    """Flatten a config to dotted keys, without settings in names and those that change no result."""
    own = (*_SAME_FIGURES, *(_OF_BASELINES if config.get("protocol") else ()))
    return {key: value for key, value in _flat(config) if key not in _TOLD and not key.startswith(own)}


def require_same_settings(arm: str, seeds: Mapping[str, Settings]) -> None:
    """Check that the runs of one arm differ in the training seed alone.

    Args:
        arm: name of the arm.
        seeds: run -> settings.

    Raises:
        ValueError: the runs differ; the message names the setting.
    """
    (first, known), *others = seeds.items()
    for run, own in others:
        for key in known.keys() & own.keys():
            if known[key] != own[key]:
                raise ValueError(
                    f"seeds of {arm} differ in {key}: {first} has {known[key]}, {run} has {own[key]}, "
                    f"and one row cannot hold both; name the runs to compare, or add {key}={own[key]}"
                )


def describe_differences(arms: Mapping[str, Settings]) -> str:
    """Describe in a sentence how arms differ beyond their names; empty where they do not.

    Args:
        arms: name -> settings; ``--key=value`` in a name stands for a setting.
    """
    parts = []
    for key in sorted({key for own in arms.values() for key in own}):
        values: dict[str, list[str]] = {}
        for arm, own in arms.items():
            if key in own and f"--{key}=" not in arm:
                values.setdefault(str(own[key]), []).append(arm)
        if len(values) > 1:
            parts.append(f"{key} " + ", ".join(f"{value} ({shortened(of)})" for value, of in values.items()))
    if not parts:
        return ""
    more = f"; and {len(parts) - _MOST_SETTINGS} more settings" if len(parts) > _MOST_SETTINGS else ""
    return f"Beside what their names tell, arms differ in {'; '.join(parts[:_MOST_SETTINGS])}{more}."


def shortened(arms: Sequence[str]) -> str:
    """List the first names, and the number of others."""
    more = f" and {len(arms) - _MOST_ARMS} more" if len(arms) > _MOST_ARMS else ""
    return ", ".join(arms[:_MOST_ARMS]) + more


def _flat(values: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
