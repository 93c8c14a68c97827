"""What a terminal shows while checkpoints are scored."""

from types import TracebackType

from rich.console import Console

from fp_lab.lab.bars import bars
from fp_lab.lab.reporter import Reporter


class TrackProgress(Reporter):
    """A bar for the checkpoints with the time that is left, and one for the current stage.

    Without a terminal there are no bars, only a line for each checkpoint.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = bars(console)
        self._all = self._bars.add_task("checkpoints", total=None, note="")
        self._stage = self._bars.add_task("", total=1, note="", visible=False)

    def __enter__(self) -> "TrackProgress":
        """Show the bars."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._bars.stop()

    def plan(self, total: int) -> None:
        """So many checkpoints are to be scored."""
        self._bars.update(self._all, total=total)
        self.say(f"{total} checkpoints to score" if total else "All checkpoints were scored already")

    def checkpoint(self, label: str) -> None:
        """The next checkpoint begins."""
        self._bars.update(self._all, note=label)
        if not self.console.is_terminal:
            self.say(label)

    def checkpoint_done(self) -> None:
        """A checkpoint has ended, one way or the other."""
        self._bars.advance(self._all)
        self._bars.update(self._stage, visible=False)

    def begin(self, stage: str, total: int) -> None:
        """Reset the stage's bar."""
        self._bars.reset(self._stage, total=total, description=f"  {stage}", note="", visible=True)

    def advance(self, done: int, note: str = "") -> None:
        """Move the stage's bar."""
        self._bars.update(self._stage, completed=done, note=note)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
