"""Measures without rollout for finished runs and checkpoints, which were sampled before there were any."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from fp_lab.lab.checkpoints.rows import write_tracked
from fp_lab.lab.checkpoints.score import Scorer
from fp_lab.lab.config import load
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.results.find_runs import runs_below
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.without_rollout import measure_without_rollout, without_rollout_key
from fp_lab.lab.training.checkpoints import checkpoints


def measure_finished(folders: Sequence[Path], reporter: Reporter) -> dict[RunFolder, tuple[RunFolder, ...]]:
    """Measure what is missing in runs whose videos were sampled, and in their scored checkpoints.

    Nothing of theirs is done again.

    Args:
        folders: folders of grids, arms or runs.
        reporter: receiver of progress.

    Returns:
        Runs of which something was measured now -> what that was: the run itself, some of its checkpoints.

    Raises:
        ValueError: there is no run, or one whose model or inputs are missing.
    """
    found, materials = dict[RunFolder, tuple[RunFolder, ...]](), dict[Path, Materials]()
    for run in map(RunFolder, runs_below(folders)):
        if sampled := run.record_of("sample").get("key"):
            cache = run.path.parents[2] / "cache"
            own = materials.setdefault(cache, Materials(cache, reporter))
            with only_one(run.lock):
                if measured := tuple(_measured(run, sampled, own, reporter)):
                    found[run] = measured
    return found


def _measured(run: RunFolder, sampled: str, materials: Materials, reporter: Reporter) -> Iterator[RunFolder]:
    config = load(run.config)
    if measure_without_rollout(run, config, without_rollout_key(sampled, config), materials, reporter):
        yield run
    if not checkpoints(run):
        return
    scorer = Scorer(run, config, materials, reporter)
    scored = scorer.scored()
    if measured := [checkpoint for checkpoint in scored if scorer.measure(checkpoint)]:
        write_tracked(run, scored, scorer.truth)
    yield from measured
