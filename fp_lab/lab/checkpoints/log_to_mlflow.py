"""Logging of what was made after grids and trainings to MLflow, into the runs that they have there."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.results.setting_differences import shortened
from fp_lab.lab.tracking import Tracker, Unreachable
from fp_lab.lab.tracking.log_run import mirror_additions


def send(runs: Sequence[RunFolder], say: Callable[[str], None]) -> None:
    """Log scores of checkpoints by training step, and measures without rollout, into existing MLflow runs.

    Args:
        runs: runs with scored checkpoints or such measures.
        say: called with what could not be sent, and how to send it.
    """
    trackers: dict[Path, Tracker] = {}
    unknown = []
    for place in runs:
        folder = place.path.parents[2]
        tracker = trackers.setdefault(folder, Tracker(folder, say))
        try:
            known = tracker.known(place.path)
            if known is None:
                unknown.append(str(place.path))
            else:
                mirror_additions(place, known)
        except Unreachable:
            unknown.append(str(place.path))
    if unknown:
        say(
            f"MLflow lacks checkpoints or measures of {shortened(unknown)}: the fp-lab grid or fp-lab train "
            "that made these runs sends them"
        )
