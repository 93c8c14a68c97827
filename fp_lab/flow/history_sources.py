"""Sources of training histories: names and settings; what they do is in `fp_lab.training.history`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Generator, Tensor

from fp_lab.checks.later import acts_by_chance, acts_later
from fp_lab.checks.ranges import check_ranges
from fp_lab.registry import Registry

HistoryFunction = Callable[[Tensor, Generator], Tensor]
"""(true latents ``b c t h w``, a generator on the CPU) -> latents that the history is taken from."""

HISTORY_SOURCES: Registry[Any] = Registry(
    "history source", ("true", "augmented", "recycled", "resampled", "rollout", "reversed")
)
"""Sources by name: a `HistoryFunction`, or a subclass of `fp_lab.training.history.HistorySource`."""
WITH_SETTINGS = ("augmented", "recycled", "resampled", "rollout", "reversed")
"""Sources with settings of their own, which are unused where another one is chosen."""
ONE_PROCESS = ("recycled", "rollout", "reversed")
"""Sources with a state, which is stored for one process."""


@dataclass(frozen=True)
class AugmentedConfig:
    """Settings of ``augmented``, which damages each frame alone.

    Attributes:
        clean: share of frames that are left alone; the three kinds of damage share the others evenly.
        noise: largest level of the noise.
        smallest: smallest size, over the true one, that frames are brought to and back from.
        saturation: largest change of the factor about the mean, 1 - `saturation` to 1 + `saturation`.
    """

    clean: float = field(default=0.1, metadata=acts_by_chance())
    noise: float = 1 / 3
    smallest: float = 0.9
    saturation: float = 0.7

    def __post_init__(self) -> None:
        """Check the ranges."""
        shares = dict.fromkeys(("clean", "noise", "saturation"), "[0, 1]")
        check_ranges("objective.history.augmented", self, smallest="(0, 1]", **shares)


@dataclass(frozen=True)
class RecycledConfig:
    """Settings of ``recycled``, which adds errors of the model's own from a bank.

    Attributes:
        bins: number of equal bins of the noise level that errors are kept by.
        entries: number of errors that each bin keeps; the oldest go first.
        clean: share of videos that get no error, and whose errors are not kept.
        share: share of the other videos that get one.
    """

    bins: int = 50
    entries: int = field(default=500, metadata=acts_later("once a bin is full"))
    clean: float = field(default=0.2, metadata=acts_by_chance())
    share: float = field(default=0.9, metadata=acts_by_chance())

    def __post_init__(self) -> None:
        """Check the ranges."""
        counts = dict.fromkeys(("bins", "entries"), "[1, inf)")
        check_ranges("objective.history.recycled", self, clean="[0, 1]", share="[0, 1]", **counts)


@dataclass(frozen=True)
class ResampledConfig:
    """Settings of ``resampled``, which noises true latents and brings them back with the model.

    Attributes:
        steps: Euler steps back, one forward pass each.
        mean: mean of the normal distribution whose sigmoid is the noise level t_s (logit-normal).
        std: standard deviation of that distribution.
    """

    steps: int = 1
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        place = "objective.history.resampled"
        check_ranges(place, self, steps="[1, inf)", mean="(-inf, inf)", std="[0, inf)")


@dataclass(frozen=True)
class RolloutConfig:
    """Settings of ``rollout`` and of ``reversed``, whose histories are rollouts of the model.

    Attributes:
        steps: Euler steps of a section, one forward pass each.
        every: training batches from one refresh to the next, which rolls out the videos of its batch.
        videos: number of rollouts that are kept, one per training video; the oldest go first.
        share: share of the videos with a kept rollout whose history is taken from it.
    """

    steps: int = 2
    every: int = field(default=10, metadata=acts_later("from the second refresh on"))
    videos: int = field(default=256, metadata=acts_later("once as many rollouts are kept"))
    share: float = field(default=1.0, metadata=acts_by_chance())
    place: ClassVar[str] = "objective.history.rollout"

    def __post_init__(self) -> None:
        """Check the ranges."""
        counts = dict.fromkeys(("steps", "every", "videos"), "[1, inf)")
        check_ranges(self.place, self, share="[0, 1]", **counts)


@dataclass(frozen=True)
class ReversedConfig(RolloutConfig):
    """Settings of ``reversed``: those of ``rollout``; half of the videos stay forward.

    Attributes:
        share: share of the videos with a kept rollout that are played backwards.
    """

    share: float = field(default=0.5, metadata=acts_by_chance())
    place: ClassVar[str] = "objective.history.reversed"
