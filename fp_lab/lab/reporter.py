"""Who hears of progress: the lab's stages talk to a `Reporter`, whatever is shown or tracked."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One training step.

    Attributes:
        step: counted from 1.
        loss: of its batch.
        learning_rate: that it was taken with.
        seconds: wall time.
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float


class Reporter:
    """Hears of everything and keeps silent; subclasses show or track it."""

    def begin(self, stage: str, total: int) -> None:
        """A piece of work of so many units begins."""

    def advance(self, done: int, note: str = "") -> None:
        """So many units of it are done."""

    def trained(self, step: Step) -> None:
        """A training step was taken."""

    def say(self, line: str) -> None:
        """Something worth a line."""
