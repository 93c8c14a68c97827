"""Progress of a grid on a terminal: bars for the grid and running arms, a line per finished arm."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from fp_lab.lab.runtime.progress import LOG, Shown
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.tracking import TrackedRun


class GridProgress(Shown):
    """Progress bars of a grid. Without a terminal there are no bars, only lines.

    Args:
        console: console that shows the bars.
        arms: number of arms of the grid.
    """

    def __init__(self, console: Console, arms: int) -> None:
        super().__init__(console)
        self._grid = self._progress.add_task("grid", total=arms, note="")

    def arm(self, label: str, tracked: TrackedRun) -> "ArmProgress":
        """Create a bar for an arm that is to begin."""
        return ArmProgress(self, self._progress, label, tracked)

    def arm_done(self) -> None:
        """Count an arm as ended, done or failed."""
        self._progress.advance(self._grid)

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show a bar without an end while the body runs."""
        bar = self._progress.add_task(f"  {what}", total=None, note="")
        try:
            yield
        finally:
            self._progress.remove_task(bar)


class ArmProgress(Reporter):
    """Progress bar of one arm, which passes reports on to the tracked run."""

    def __init__(self, grid: GridProgress, progress: Progress, label: str, tracked: TrackedRun) -> None:
        self._shown, self._progress, self._label, self._tracked = grid, progress, label, tracked
        self._bar: TaskID | None = None

    def started(self) -> None:
        """Show the bar and open the tracked run."""
        self._tracked.open()

    def begin(self, stage: str, total: int) -> None:
        """Start the bar of another stage."""
        self.end()
        self._bar = self._progress.add_task(f"  {stage}", total=total, note=self._label)
        LOG.info("%s: %s begins (%d)", self._label, stage, total)

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar."""
        if self._bar is not None:
            shown = f"{self._label}  {note}" if note else self._label
            self._progress.update(self._bar, completed=done, note=shown)

    def trained(self, step: Step) -> None:
        """Pass on a training step."""
        LOG.debug("%s: step %d, loss %.5f, %.3f s", self._label, step.step, step.loss, step.seconds)
        self._tracked.log_step(step)

    def machine(self, figures: Mapping[str, float]) -> None:
        """Pass on system metrics."""
        self._tracked.log_machine(figures)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._shown.say(line)

    def end(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
