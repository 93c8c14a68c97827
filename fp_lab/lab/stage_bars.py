"""What a terminal shows of a command that goes through stages: the bar of the one at work."""

from rich.console import Console
from rich.progress import TaskID

from fp_lab.lab.bars import Shown
from fp_lab.lab.reporter import Reporter


class StageBars(Shown, Reporter):
    """A bar for each stage, the earlier ones taken away; without a terminal there are none.

    Args:
        console: where they are shown.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar: TaskID | None = None

    def begin(self, stage: str, total: int) -> None:
        """The bar is of another stage now."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        self._bar = self._progress.add_task(stage, total=total, note="")

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=done, note=note)
