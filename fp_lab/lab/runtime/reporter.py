"""Who hears of progress: the lab's stages talk to a `Reporter`, whatever is shown or tracked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One training step; a row of ``train/loss.parquet``, where `seconds` is called step_seconds.

    Attributes:
        step: counted from 1.
        loss: of its batch.
        learning_rate: that it was taken with.
        seconds: wall time.
        gradient_norm: before clipping.
        tokens_per_second: of sections with their context, by the mean over the sections of a video.
        loss_sigma_0_25: mean loss of the samples with noise levels in [0, 0.25); NaN where a batch has none.
        loss_sigma_25_50: the same in [0.25, 0.5).
        loss_sigma_50_75: the same in [0.5, 0.75).
        loss_sigma_75_100: the same in [0.75, 1].
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    gradient_norm: float = math.nan
    tokens_per_second: float = math.nan
    loss_sigma_0_25: float = math.nan
    loss_sigma_25_50: float = math.nan
    loss_sigma_50_75: float = math.nan
    loss_sigma_75_100: float = math.nan

    @property
    def figures(self) -> dict[str, float]:
        """All but the step, by the names of the table's columns."""
        figures = asdict(self)
        return {
            "step_seconds" if name == "seconds" else name: figures[name] for name in figures if name != "step"
        }


class Reporter:
    """Hears of everything and keeps silent; subclasses show or track it."""

    def started(self) -> None:
        """The arm is begun: nobody else is at it."""

    def begin(self, stage: str, total: int) -> None:
        """A piece of work of so many units begins."""

    def advance(self, done: int, note: str = "") -> None:
        """So many units of it are done."""

    def trained(self, step: Step) -> None:
        """A training step was taken."""

    def machine(self, figures: Mapping[str, float]) -> None:
        """How busy the machine is, by name."""

    def say(self, line: str) -> None:
        """Something worth a line."""


TOLD = ("started", "begin", "advance", "trained", "machine", "say")
"""What a reporter can be told, as another process writes it."""


def retell(reporter: Reporter, what: str, given: Sequence[Any]) -> None:
    """Tell a reporter what was told in another process, where it was written as JSON.

    Args:
        reporter: hears of it.
        what: one of `TOLD`.
        given: arguments; a step as its fields.
    """
    assert what in TOLD
    getattr(reporter, what)(*([Step(**given[0])] if what == "trained" else given))
