"""What a terminal shows of a grid: bars for it and for every arm at work, a line for what is done."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from fp_lab.lab.runtime.progress import Shown
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.tracking import TrackedRun


class GridProgress(Shown):
    """The bars of a grid. Without a terminal there are no bars, only lines.

    Args:
        console: where they are shown.
        arms: of the grid.
    """

    def __init__(self, console: Console, arms: int) -> None:
        super().__init__(console)
        self._grid = self._progress.add_task("grid", total=arms, note="")

    def arm(self, label: str, tracked: TrackedRun) -> "ArmProgress":
        """A bar for an arm that is to begin."""
        return ArmProgress(self, self._progress, label, tracked)

    def arm_done(self) -> None:
        """An arm has ended, one way or the other."""
        self._progress.advance(self._grid)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """A bar without an end while its body runs."""
        bar = self._progress.add_task(f"  {what}", total=None, note="")
        try:
            yield
        finally:
            self._progress.remove_task(bar)


class ArmProgress(Reporter):
    """The bar of one arm; what it hears is handed on to the tracked run."""

    def __init__(self, grid: GridProgress, progress: Progress, label: str, tracked: TrackedRun) -> None:
        self._shown, self._progress, self._label, self._tracked = grid, progress, label, tracked
        self._bar: TaskID | None = None

    def started(self) -> None:
        """Show the bar and open the tracked run."""
        self._tracked.open()

    def begin(self, stage: str, total: int) -> None:
        """The bar is of another stage now."""
        self.end()
        self._bar = self._progress.add_task(f"  {stage}", total=total, note=self._label)

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            shown = f"{self._label}  {note}" if note else self._label
            self._progress.update(self._bar, completed=done, note=shown)

    def trained(self, step: Step) -> None:
        """Hand a step on."""
        self._tracked.log_step(step)

    def machine(self, figures: Mapping[str, float]) -> None:
        """Hand the load of the machine on."""
        self._tracked.log_machine(figures)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._shown.say(line)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
