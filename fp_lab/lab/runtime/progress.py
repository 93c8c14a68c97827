"""Progress bars on a terminal, for the stages of a command and for scored checkpoints."""

import logging
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
LOG = logging.getLogger("fp_lab")
"""Log of the lines beside the bars, of the begin of each stage, and (as DEBUG) of every training step."""
LOG.addHandler(logging.NullHandler())  # or Python prints errors that nobody logs a second time


class Shown:
    """Progress bars shown within a context; none without a terminal.

    Args:
        console: console that shows the bars.
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
        """Remove the bars."""
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        LOG.info(line)


def bars(console: Console) -> Progress:
    """Create bars with the remaining time and a field ``note``; hidden where the console is no terminal."""
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
    """A bar for the current stage; none without a terminal.

    Args:
        console: console that shows the bars.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bar: TaskID | None = None

    def begin(self, stage: str, total: int) -> None:
        """Start the bar of another stage."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
        self._bar = self._progress.add_task(stage, total=total, note="")
        LOG.info("%s begins (%d)", stage, total)

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=done, note=note)


class CheckpointProgress(Shown, Reporter):
    """A bar for the checkpoints with the remaining time, and one for the current stage.

    Without a terminal there are no bars, only a line per checkpoint.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._all = self._progress.add_task("checkpoints", total=None, note="")
        self._stage = self._progress.add_task("", total=1, note="", visible=False)

    def plan(self, total: int) -> None:
        """Set the number of checkpoints to score."""
        self._progress.update(self._all, total=total)
        self.say(f"{total} checkpoints to score" if total else "All checkpoints were scored already")

    def checkpoint(self, label: str) -> None:
        """Begin the next checkpoint."""
        self._progress.update(self._all, note=label)
        if not self.console.is_terminal:
            self.say(label)

    def checkpoint_done(self) -> None:
        """End a checkpoint, scored or failed."""
        self._progress.advance(self._all)
        self._progress.update(self._stage, visible=False)

    def begin(self, stage: str, total: int) -> None:
        """Reset the stage's bar."""
        self._progress.reset(self._stage, total=total, description=f"  {stage}", note="", visible=True)

    def advance(self, done: int, note: str = "") -> None:
        """Move the stage's bar."""
        self._progress.update(self._stage, completed=done, note=note)
