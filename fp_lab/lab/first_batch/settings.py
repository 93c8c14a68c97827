"""Settings in which two arms differ, by where a difference shows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from fp_lab.checks.later import idle_settings, is_by_chance, why_later
from fp_lab.flow.history_sources import HISTORY_SOURCES
from fp_lab.flow.solvers import SOLVERS
from fp_lab.lab.config import ExperimentConfig, flatten, plain_settings

_NO_DIFFERENCE = (
    *("seed", "label", "protocol", "plugins", "track.", "training.compute_of"),
    *("training.checkpoint_every", "training.workers"),
)
"""Beginnings of settings that change no result, or are resolved into others."""
_BY_NAME = (
    *("training.", "optimizer.", "evaluation.", "data.train_videos", "data.clips.split"),
    *("model.dtype", "model.encoder_dtype", "model.checkpointing"),
    *("codec.dtype", "codec.tiling", "codec.slicing"),
)
"""Beginnings of settings that neither a batch nor a section shows; they count as they are."""
_REGISTRIES: Mapping[str, Mapping[str, Any]] = {
    "objective.history.source": HISTORY_SOURCES,
    "sampling.solver.name": SOLVERS,
}

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Differences:
    """Settings in which an arm differs from another: dotted key -> own value and the other's.

    Attributes:
        batch: those that a training batch shows.
        sampled: those that a generated section shows.
        named: those that neither shows, such as the number of steps.
        later: reasons of those that may act only later, by key.
    """

    batch: Mapping[str, tuple[Any, Any]]
    sampled: Mapping[str, tuple[Any, Any]]
    named: Mapping[str, tuple[Any, Any]]
    later: Mapping[str, str]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.batch or self.sampled or self.named)

    @property
    def in_sections(self) -> bool:
        """Whether sections of one model may differ: the objective acts through training alone."""
        return bool(self.sampled) or not all(key.startswith("objective.") for key in self.batch)


def differences(config: ExperimentConfig, other: ExperimentConfig) -> Differences:
    """Sort the settings in which two arms differ by where a difference shows."""
    differing = {
        key: values for key, values in _differing(config, other) if not key.startswith(_NO_DIFFERENCE)
    }
    named = {key: values for key, values in differing.items() if key.startswith(_BY_NAME)}
    sampled = {key: values for key, values in differing.items() if _is_sampled(key)}
    batch = {key: values for key, values in differing.items() if key not in named | sampled}
    later = {key: reason for key in differing for one in (config, other) if (reason := _later(one, key))}
    return Differences(batch, sampled, named, later)


def shares_of(config: ExperimentConfig) -> Mapping[str, float]:
    """Shares of videos or frames that are drawn in a training of an arm, by dotted key."""
    return dict(_shares(config))


def with_setting(settings: Settings, key: str, value: Any) -> Settings:
    """Return settings with the value of a dotted key replaced."""
    name, _, rest = key.partition(".")
    inner: Any = with_setting(getattr(settings, name), rest, value) if rest else value
    return replace(settings, **{name: inner})  # type: ignore[type-var]  # of a dataclass


def batch_settings(config: ExperimentConfig) -> str:
    """Describe all settings that a training batch depends on, and the seed, as a text to compare."""
    own = flatten(plain_settings(config))
    others = (*_NO_DIFFERENCE, *_BY_NAME)
    return str(
        (config.seed, {k: v for k, v in own.items() if not k.startswith(others) and not _is_sampled(k)})
    )


def _is_sampled(key: str) -> bool:
    return key.startswith("sampling.") and key != "sampling.fill"  # training draws from the filled plan


def _differing(config: ExperimentConfig, other: ExperimentConfig) -> Iterator[tuple[str, tuple[Any, Any]]]:
    parts = [part.name for part in fields(config) if getattr(config, part.name) != getattr(other, part.name)]
    own, theirs = (
        flatten({name: plain_settings(getattr(one, name)) for name in parts}) for one in (config, other)
    )
    unused = "data.clips." if config.data.kind == other.data.kind == "world" else "data.world."
    for key in dict.fromkeys((*own, *theirs)):
        values = own.get(key), theirs.get(key)
        if values[0] != values[1] and not key.startswith(unused):
            yield key, values


def _later(config: ExperimentConfig, key: str) -> str:
    """Reason why a setting of an arm may act only later; empty for others."""
    settings: Any = config
    reason = ""
    for name in key.split("."):
        found = (
            {field.name: field for field in fields(settings)}.get(name) if is_dataclass(settings) else None
        )
        if found is None:
            break
        if name in idle_settings(settings):
            return ""  # never, as other settings are
        reason = reason or why_later(found.metadata)
        settings = getattr(settings, name)
    if reason:
        return reason
    chosen = _REGISTRIES[key].get(settings) if key in _REGISTRIES else None
    return str(getattr(chosen, "acts_later", ""))


def _shares(settings: Any, place: str = "") -> Iterator[tuple[str, float]]:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in idle_settings(settings):
            continue
        if is_by_chance(field.metadata):
            yield f"{place}{field.name}", value
        elif is_dataclass(value):
            yield from _shares(value, f"{place}{field.name}.")
