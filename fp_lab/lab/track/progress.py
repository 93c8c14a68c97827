"""What a terminal shows while checkpoints are scored."""

from rich.console import Console

from fp_lab.lab.bars import Shown
from fp_lab.lab.reporter import Reporter


class TrackProgress(Shown, Reporter):
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
