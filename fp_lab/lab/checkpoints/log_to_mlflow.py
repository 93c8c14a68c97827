"""Logging of checkpoint scores to MLflow, into the runs of earlier grids or trainings."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fp_lab.lab.checkpoints.afterwards import TrackedRun
from fp_lab.lab.results.differing import listed
from fp_lab.lab.tracking import Tracker, Unreachable
from fp_lab.lab.tracking.log_run import mirror_checkpoints


def send(runs: Sequence[TrackedRun], say: Callable[[str], None]) -> None:
    """Log the scores of checkpoints by training step, into the existing MLflow runs.

    Args:
        runs: runs with scored checkpoints.
        say: called with what could not be sent, and how to send it.
    """
    trackers: dict[Path, Tracker] = {}
    unknown = []
    for one in runs:
        place = one.run.path
        folder = place.parents[2]
        tracker = trackers.setdefault(folder, Tracker(folder, say))
        try:
            known = tracker.known(place)
            if known is None:
                unknown.append(str(place))
            else:
                mirror_checkpoints(one.run, known)
        except Unreachable:
            unknown.append(str(place))
    if unknown:
        say(
            f"MLflow lacks the checkpoints of {listed(unknown)}: the fp-lab grid or fp-lab train that made "
            "these runs sends them"
        )
