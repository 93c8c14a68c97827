"""Progress reports: stages of the lab call a `Reporter`, which shows or tracks them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One training step; a row of ``train/loss.parquet``, where `seconds` is called step_seconds.

    Attributes:
        step: number of the step, from 1.
        loss: loss of the batch.
        learning_rate: learning rate of the step.
        seconds: wall time of the step.
        gradient_norm: norm of the gradient before clipping.
        tokens_per_second: rate of tokens of sections with their context, by the mean over a video's sections.
        loss_sigma_0_25: mean loss of the samples with noise levels in [0, 0.25); NaN where a batch has none.
        loss_sigma_25_50: mean loss in [0.25, 0.5).
        loss_sigma_50_75: mean loss in [0.5, 0.75).
        loss_sigma_75_100: mean loss in [0.75, 1].
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
        """All values but the step, by the column names of the table."""
        figures = asdict(self)
        return {
            "step_seconds" if name == "seconds" else name: figures[name] for name in figures if name != "step"
        }


class Reporter:
    """Receiver of progress reports that ignores them; subclasses show or track them."""

    def started(self) -> None:
        """Report that the arm has started, with its lock held."""

    def begin(self, stage: str, total: int) -> None:
        """Begin a stage of `total` units."""

    def advance(self, done: int, note: str = "") -> None:
        """Report that `done` units of the stage are done so far."""

    def trained(self, step: Step) -> None:
        """Report a training step."""

    def machine(self, figures: Mapping[str, float]) -> None:
        """Report system metrics by name."""

    def say(self, line: str) -> None:
        """Report a line of text."""


TOLD = ("started", "begin", "advance", "trained", "machine", "say")
"""Methods of a reporter that another process may call."""


def retell(reporter: Reporter, what: str, given: Sequence[Any]) -> None:
    """Repeat to a reporter a call that another process wrote as JSON.

    Args:
        reporter: receiver of the call.
        what: name of the method, one of `TOLD`.
        given: arguments of the call; a step as its fields.
    """
    assert what in TOLD
    getattr(reporter, what)(*([Step(**given[0])] if what == "trained" else given))
