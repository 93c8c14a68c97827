"""What a terminal shows of a command that goes through stages: the bar of the one at work."""

from types import TracebackType

from rich.console import Console
from rich.progress import TaskID

from fp_lab.lab.bars import bars
from fp_lab.lab.reporter import Reporter


class StageBars(Reporter):
    """A bar for each stage, the earlier ones taken away; without a terminal there are none.

    Args:
        console: where they are shown.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._progress = console, bars(console)
        self._bar: TaskID | None = None

    def __enter__(self) -> "StageBars":
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._progress.stop()

    def begin(self, stage: str, total: int) -> None:
        """The bar is of another stage now."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        self._bar = self._progress.add_task(stage, total=total, note="")

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=done, note=note)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
