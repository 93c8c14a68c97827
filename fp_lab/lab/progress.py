"""What a terminal shows of a grid: bars while it runs, a line for everything that is done."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fp_lab.lab.reporter import Reporter, Step
from fp_lab.lab.tracking import TrackedRun


class GridProgress(Reporter):
    """Bars for the grid and for the current stage; training steps are handed on to the tracked run.

    Without a terminal there are no bars, only lines.
    """

    def __init__(self, console: Console, arms: int) -> None:
        self.console = console
        self.tracked: TrackedRun | None = None
        self._progress = Progress(
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
        self._grid = self._progress.add_task("grid", total=arms, note="")
        self._stage = self._progress.add_task("", total=1, note="", visible=False)
        self._label = ""

    def __enter__(self) -> "GridProgress":
        """Show the bars."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._progress.stop()

    def arm(self, number: int, total: int, label: str) -> None:
        """The next arm begins."""
        self._label = f"[{number}/{total}] {label}"
        self._progress.update(self._grid, completed=number - 1, note=label)

    def arm_done(self, number: int) -> None:
        """An arm has ended, one way or the other."""
        self._progress.update(self._grid, completed=number)
        self._progress.update(self._stage, visible=False)

    def begin(self, stage: str, total: int) -> None:
        """Reset the stage's bar."""
        self._progress.reset(self._stage, total=total, description=f"  {stage}", note="", visible=True)

    def advance(self, done: int, note: str = "") -> None:
        """Move the stage's bar."""
        self._progress.update(self._stage, completed=done, note=note)

    def trained(self, step: Step) -> None:
        """Hand a step on to the tracked run."""
        if self.tracked is not None:
            self.tracked.log_step(step)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
