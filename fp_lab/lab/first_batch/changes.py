"""What each arm of a grid changes against the first one; an arm that changes nothing is refused."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.first_batch.inputs import VIDEOS, NotLookedAt, few_videos
from fp_lab.lab.first_batch.looks import PARTS, BatchLook, look_at_batches
from fp_lab.lab.first_batch.sections import SECTIONS, count_sections, first_sections
from fp_lab.lab.first_batch.settings import (
    Differences,
    batch_settings,
    differences,
    shares_of,
    with_setting,
)
from fp_lab.lab.materials.training_videos import TrainingVideos
from fp_lab.registry import message_of

Made = TypeVar("Made")

MOST = 64
"""Arms of a grid whose batches are looked at unless asked for more: each takes a second or two of a core."""
_BATCHES = 8
"""Batches of two arms that are compared where the first ones are equal: shares and banks act by chance."""
_RARE = 0.1
"""Share, or share of the others, below which what it does to a video may be missed in those batches."""
_SECTIONS = "first sections"
_SHOWN = 4  # settings that a message names


@dataclass(frozen=True)
class LookedAt:
    """An arm of a grid, whatever its training seed.

    Attributes:
        name: its name.
        config: its settings, with the first training seed.
        expect_same: whether it is meant to do the same as another arm.
    """

    name: str
    config: ExperimentConfig
    expect_same: bool = False


@dataclass(frozen=True)
class Change:
    """What an arm changes.

    Attributes:
        parts: parts of a batch (`PARTS`), ``first sections``, and settings that show in neither.
        remark: what is to be said in place of parts, or beside them.
        fault: why the arm is refused; empty for others.
        unseen: why its batch was not looked at; empty for others.
    """

    parts: tuple[str, ...] = ()
    remark: str = ""
    fault: str = ""
    unseen: str = ""

    @property
    def text(self) -> str:
        """Cell of a table."""
        return "; ".join(filter(None, (", ".join(self.parts), self.remark)))


def changes_of(arms: Sequence[LookedAt]) -> Mapping[str, Change]:
    """Compare a training batch, and where needed the first sections, of each arm with those of others.

    Args:
        arms: arms of a grid in order; the first one is what others change.

    Returns:
        Changes by name.
    """
    looks = _Looks()
    first = arms[0]
    changes = {first.name: Change(remark="(first)")}
    different = [first]
    for arm in arms[1:]:
        fault = "" if arm.expect_same else next(_faults(looks, arm, different), "")
        changes[arm.name] = _change(looks, arm, first, fault)
        if not (fault or arm.expect_same):
            different.append(arm)
    return changes


def by_settings(arms: Sequence[LookedAt]) -> Mapping[str, Change]:
    """List the settings that each arm changes against the first one; no batch is looked at."""
    first = arms[0]
    changes = {first.name: Change(remark="(first)")}
    for arm in arms[1:]:
        differing = differences(arm.config, first.config)
        changes[arm.name] = Change((*differing.batch, *differing.sampled, *differing.named))
    return changes


def require_changes(changes: Mapping[str, Change], names: Collection[str]) -> None:
    """Refuse arms that change nothing and do not say so.

    Args:
        changes: changes of all arms.
        names: arms with work to do; finished ones are left alone.

    Raises:
        ValueError: names each arm, its settings and the arm that it is equal to.
    """
    faults = [change.fault for name, change in changes.items() if change.fault and name in names]
    if faults:
        raise ValueError(
            "\n".join(faults)
            + "\nExpected every arm to change something: see that the option is passed on to "
            "where it acts, remove the arm, or write expect_same: true into it in the grid file, if it is "
            "meant to do the same"
        )


def _change(looks: "_Looks", arm: LookedAt, first: LookedAt, fault: str) -> Change:
    """What an arm changes against the first one."""
    differing = differences(arm.config, first.config)
    parts: tuple[str, ...] = ()
    unseen = ""
    try:
        if differing.batch:
            parts = looks.parts(arm, first)
        if not parts and differing.in_sections and not looks.same_sections(arm, first):
            parts = (_SECTIONS,)
    except NotLookedAt as reason:
        parts, unseen = (*differing.batch, *differing.sampled), str(reason)
    if differing.batch and not unseen:  # another model: what its sections owe to sampling cannot be told
        parts += tuple(differing.sampled)
    parts += tuple(differing.named)
    remark = "not looked at" if unseen else ""
    if not parts:
        why = "" if fault or arm.expect_same else _why_not_yet(looks, differing, arm, first)
        told = ", as expected" if arm.expect_same else f" yet: {why}" if why else ""
        remark = f"nothing{told}"
    return Change(parts, remark, fault, unseen)


def _faults(looks: "_Looks", arm: LookedAt, others: Sequence[LookedAt]) -> Iterator[str]:
    """Yield each other arm that an arm changes nothing against, as a message."""
    for other in others:
        with suppress(NotLookedAt):
            if fault := _fault(looks, differences(arm.config, other.config), arm, other):
                yield fault


def _fault(looks: "_Looks", differing: Differences, arm: LookedAt, other: LookedAt) -> str:
    if not differing:
        return f"{arm.name}: has the settings of {other.name}"
    if _later(differing, arm):
        return ""
    if differing.batch and looks.parts(arm, other):
        return ""
    # in short videos orders can have the same training sections and are sampled in another way
    if differing.in_sections and not looks.same_sections(arm, other):
        return ""
    if differing.batch and _by_chance(looks, differing, arm, other):
        return ""
    if differing.batch:
        parts = f"{', '.join(PARTS[:-1])} and {PARTS[-1]}"
        return (
            f"{arm.name}: {_settings(differing.batch)} changes nothing: {parts} of the first {_BATCHES} "
            f"training batches are those of {other.name}"
        )
    if differing.sampled:
        return (
            f"{arm.name}: {_settings(differing.sampled)} changes nothing: the first {SECTIONS} sections that "
            f"are sampled are those of {other.name}"
        )
    return ""


def _why_not_yet(looks: "_Looks", differing: Differences, arm: LookedAt, other: LookedAt) -> str:
    """Why what differs is not seen yet; empty where it never will be."""
    if later := _later(differing, arm):
        return later
    with suppress(NotLookedAt):
        if differing.batch:
            return _by_chance(looks, differing, arm, other)
    return ""


def _later(differing: Differences, arm: LookedAt) -> str:
    """Reason why what differs may act later; empty also where all that an arm does is looked at."""
    config = arm.config
    whole = {
        **dict.fromkeys(differing.batch, config.training.steps <= _BATCHES),
        **dict.fromkeys(differing.sampled, count_sections(config) <= SECTIONS),
    }
    return next((why for key, why in differing.later.items() if not whole.get(key)), "")


def _by_chance(looks: "_Looks", differing: Differences, arm: LookedAt, other: LookedAt) -> str:
    """Share of videos or frames that is so small, or large, that what differs was not drawn in any batch.

    With the share at its ends it is: a proof that the setting arrives, which a batch of the arm cannot give.
    """
    for key, share in shares_of(arm.config).items():
        if not 0 < share < 1:
            continue
        if key in differing.batch:
            pair = _with(arm, key, 0.0), _with(arm, key, 1.0)
        elif min(share, 1 - share) < _RARE:
            rarer = float(share < 0.5)
            pair = _with(arm, key, rarer), _with(other, key, rarer)
        else:
            continue
        if looks.parts(*pair):
            return f"by chance, {key} is {share:g}"
    return ""


def _with(arm: LookedAt, key: str, value: Any) -> LookedAt:
    return replace(arm, config=with_setting(arm.config, key, value))


def _settings(differing: Mapping[str, tuple[Any, Any]]) -> str:
    shown = [f"{key}={own} (there {theirs!r})" for key, (own, theirs) in list(differing.items())[:_SHOWN]]
    more = len(differing) - len(shown)
    return ", ".join(shown) + (f" and {more} more settings" if more > 0 else "")


class _Looks:
    """Batches and sections of arms, each made once; where one cannot be made, the reason is kept."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def parts(self, arm: LookedAt, other: LookedAt) -> tuple[str, ...]:
        """Parts in which the first batches differ that differ at all; empty where none of them does."""
        for count in (1, _BATCHES):
            for one, two in zip(self._batches(arm, count), self._batches(other, count), strict=True):
                if differing := one.changes(two):
                    return differing
        return ()

    def same_sections(self, arm: LookedAt, other: LookedAt) -> bool:
        """Whether the first sections that two arms sample are equal."""
        return self._sections(arm) == self._sections(other)

    def _batches(self, arm: LookedAt, count: int) -> list[BatchLook]:
        config = _on_cpu(arm.config)
        key = f"{count} batches {batch_settings(config)}"
        return self._once(key, lambda: look_at_batches(config, self._videos(config), count))

    def _sections(self, arm: LookedAt) -> str:
        config = _on_cpu(arm.config)
        key = f"sections {config.sampling} {config.evaluation} {batch_settings(config)}"
        return self._once(key, lambda: first_sections(config, self._videos(config)))

    def _videos(self, config: ExperimentConfig) -> TrainingVideos:
        data = replace(config.data, train_videos=VIDEOS)
        return self._once(f"videos {data} {config.codec} {config.model.base}", lambda: few_videos(config))

    def _once(self, key: str, make: Callable[[], Made]) -> Made:
        if key not in self._made:
            try:
                self._made[key] = make()
            except Exception as error:  # whatever is wrong with an arm fails that arm alone, when it runs
                self._made[key] = NotLookedAt(message_of(error) or type(error).__name__)
        made = self._made[key]
        if isinstance(made, NotLookedAt):
            raise made
        return cast(Made, made)


def _on_cpu(config: ExperimentConfig) -> ExperimentConfig:
    """The config on this machine's CPU, whatever it trains on."""
    return replace(config, training=replace(config.training, accelerator="cpu"))
