"""Progress bars on a terminal: of a command's stages, and of checkpoints that are scored."""

from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fp_lab.lab.runtime.reporter import Reporter

Bars = TypeVar("Bars", bound="Shown")


class Shown:
    """Bars that are there while their context is entered; without a terminal there are none.

    Args:
        console: where they are shown.
    """

    def __init__(self, console: Console) -> None:
        self.console, self._progress = console, bars(console)

    def __enter__(self: Bars) -> Bars:
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def bars(console: Console) -> Progress:
    """Bars with the time that is left and a field ``note``; none where the console is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class StageProgress(Shown, Reporter):
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


class CheckpointProgress(Shown, Reporter):
    """A bar for the checkpoints with the time that is left, and one for the current stage.

    Without a terminal there are no bars, only a line for each checkpoint.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._all = self._progress.add_task("checkpoints", total=None, note="")
        self._stage = self._progress.add_task("", total=1, note="", visible=False)

    def plan(self, total: int) -> None:
        """So many checkpoints are to be scored."""
        self._progress.update(self._all, total=total)
        self.say(f"{total} checkpoints to score" if total else "All checkpoints were scored already")

    def checkpoint(self, label: str) -> None:
        """The next checkpoint begins."""
        self._progress.update(self._all, note=label)
        if not self.console.is_terminal:
            self.say(label)

    def checkpoint_done(self) -> None:
        """A checkpoint has ended, one way or the other."""
        self._progress.advance(self._all)
        self._progress.update(self._stage, visible=False)

    def begin(self, stage: str, total: int) -> None:
        """Reset the stage's bar."""
        self._progress.reset(self._stage, total=total, description=f"  {stage}", note="", visible=True)

    def advance(self, done: int, note: str = "") -> None:
        """Move the stage's bar."""
        self._progress.update(self._stage, completed=done, note=note)
