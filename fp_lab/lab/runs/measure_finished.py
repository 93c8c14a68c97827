"""Measures without rollout for finished runs, which were sampled before there were any."""

from collections.abc import Sequence
from pathlib import Path

from fp_lab.lab.config import load
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.results.find_runs import runs_below
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.without_rollout import measure_without_rollout, without_rollout_key


def measure_finished(folders: Sequence[Path], reporter: Reporter) -> list[RunFolder]:
    """Measure what is missing in runs whose videos were sampled; nothing of theirs is done again.

    Args:
        folders: folders of grids, arms or runs.
        reporter: receiver of progress.

    Returns:
        Runs that were measured now.

    Raises:
        ValueError: there is no run, or one whose model or inputs are missing.
    """
    found, materials = [], dict[Path, Materials]()
    for run in map(RunFolder, runs_below(folders)):
        if not (sampled := run.record_of("sample").get("key")):
            continue
        own = materials.setdefault(cache := run.path.parents[2] / "cache", Materials(cache, reporter))
        config = load(run.config)
        with only_one(run.lock):
            if measure_without_rollout(run, config, without_rollout_key(sampled, config), own, reporter):
                found.append(run)
    return found
