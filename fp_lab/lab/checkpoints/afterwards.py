"""Tracking of trainings afterwards: missing scores of checkpoints are made, existing ones loaded."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fp_lab.lab.checkpoints.best import Best, Goal, best_checkpoint
from fp_lab.lab.checkpoints.rows import tracked_videos, write_tracked
from fp_lab.lab.checkpoints.score import Scorer
from fp_lab.lab.config import ExperimentConfig, load
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.run_folder import TRUTH_FOLDER, RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.progress import CheckpointProgress
from fp_lab.lab.scoring.noise_floor import prepare_truth
from fp_lab.lab.training.checkpoints import Checkpoint, checkpoints

PAGE_FOLDER = "track"
_HOW = "train with track.every=N (steps), such as fp-lab train base track.every=20"


@dataclass(frozen=True, eq=False)
class TrackedRun:
    """One run with scored checkpoints.

    Attributes:
        run: folder of the run.
        arm: folder name of the arm, after that of the grid where there are several.
        config: settings of the run.
        table: scores of checkpoints, see `fp_lab.lab.checkpoints.rows.COLUMNS`.
        videos: one row per step, estimator and video, own history.
        missing: steps that cannot be scored, as their weights are pruned or damaged.
    """

    run: RunFolder
    arm: str
    config: ExperimentConfig
    table: pd.DataFrame
    videos: pd.DataFrame
    missing: tuple[int, ...]

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.config.seed

    @property
    def label(self) -> str:
        """Label with arm and seed."""
        return f"{self.arm} seed {self.seed}"

    def best(self, goal: Goal) -> Best | None:
        """Return the best checkpoint by a goal; None where it is undefined."""
        return best_checkpoint(self.videos, goal)


@dataclass(frozen=True, eq=False)
class Tracked:
    """Scores of the checkpoints of several runs.

    Attributes:
        runs: runs with scores, by arm and seed.
        failed: checkpoints that could not be scored, with the reason, one line each.
        without: run folders without checkpoints.
    """

    runs: tuple[TrackedRun, ...]
    failed: tuple[str, ...]
    without: tuple[Path, ...]


def find_runs(paths: Sequence[Path]) -> tuple[RunFolder, ...]:
    """Find runs with a config and a training, at or below grid, arm or run folders.

    Raises:
        ValueError: a folder does not exist, or there is no run in any of them.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"no folder {path}; name a grid (runs/drift) or a run (runs/drift/g9/seed0)")
        found |= {config.parent.resolve() for config in path.rglob("config.yaml")}
    runs = tuple(RunFolder(path) for path in sorted(found) if (path / "train").is_dir())
    if not runs:
        raise ValueError(f"no training in {', '.join(map(str, paths))}; {_HOW}")
    return runs


def page_folder(runs: Sequence[RunFolder], out: Path | None) -> Path:
    """Return the folder of the page: `out`, or by default ``track`` in the grid's folder.

    Raises:
        ValueError: the runs are of several grids, and `out` is not given.
    """
    grids = {run.path.parents[1] for run in runs}
    if out is None and len(grids) > 1:
        raise ValueError(
            f"got runs of {len(grids)} grids ({', '.join(map(str, sorted(grids)))}); give --out FOLDER"
        )
    return out or grids.pop() / PAGE_FOLDER


def wanted_goal(tracked: Tracked, best: str | None) -> Goal:
    """Return the goal of the best checkpoint: as requested, else that of the first run.

    Raises:
        ValueError: the text is no goal.
    """
    return Goal.parse(best or tracked.runs[0].config.track.best)


def track(runs: Sequence[RunFolder], progress: CheckpointProgress) -> Tracked:
    """Score unscored checkpoints of runs, and gather all scores.

    Checkpoints that cannot be scored are left out, with the traceback in their folder; another call retries
    these alone.

    Args:
        runs: runs to track, see `find_runs`.
        progress: progress bars.

    Raises:
        ValueError: no run has checkpoints, none could be scored, or runs have different protocols.
    """
    tracking = [run for run in runs if checkpoints(run)]
    if not tracking:
        raise ValueError(f"no checkpoints in {', '.join(str(run.path) for run in runs)}; {_HOW}")
    failed: list[str] = []
    materials = Materials(tracking[0].path.parents[2] / "cache", progress)
    scorers = [_scorer(run, materials, progress) for run in tracking]
    progress.plan(sum(len(scorer.waiting()) for scorer in scorers))
    done = []
    for scorer in scorers:
        for checkpoint in scorer.waiting():
            failed += _score(scorer, checkpoint, progress)
        done += _gathered(scorer, _arm(scorer.run, grids=len({run.path.parents[1] for run in tracking})))
    if not done:
        raise ValueError("no checkpoint could be scored:\n" + "\n".join(failed))
    _check_protocols(done)
    without = tuple(run.path for run in runs if run not in tracking)
    return Tracked(tuple(sorted(done, key=lambda run: (run.arm, run.seed))), tuple(failed), without)


def _scorer(run: RunFolder, materials: Materials, progress: CheckpointProgress) -> Scorer:
    """Make a scorer, and score the ground truth where it has no scores yet."""
    config = load(run.config)
    truth = run.path.parents[1] / TRUTH_FOLDER
    if not truth.exists():
        prepare_truth(truth, config, materials, progress)
    return Scorer(run, config, materials, progress)


def _score(scorer: Scorer, checkpoint: Checkpoint, progress: CheckpointProgress) -> list[str]:
    """Score a checkpoint; return why it failed, else nothing."""
    label = f"{scorer.run.path.parent.name} seed {scorer.config.seed}, step {checkpoint.step}"
    progress.checkpoint(label)
    try:
        scorer.score(checkpoint)
    except Exception as error:  # one bad checkpoint is no reason to lose the others
        write_text(checkpoint.error, "".join(traceback.format_exception(error)))
        return [f"{label}: {type(error).__name__}: {error} (see {checkpoint.error})"]
    finally:
        progress.checkpoint_done()
    write_tracked(scorer.run, scorer.scored(), scorer.truth)
    return []


def _arm(run: RunFolder, grids: int) -> str:
    grid, arm = run.path.parts[-3:-1]
    return arm if grids == 1 else f"{grid}/{arm}"


def _gathered(scorer: Scorer, arm: str) -> list[TrackedRun]:
    scored = scorer.scored()
    if not scored:
        return []
    missing = {place.step for place in checkpoints(scorer.run)} - {place.step for place in scored}
    table, videos = write_tracked(scorer.run, scored, scorer.truth), tracked_videos(scored)
    return [TrackedRun(scorer.run, arm, scorer.config, table, videos, tuple(sorted(missing)))]


def _check_protocols(runs: Sequence[TrackedRun]) -> None:
    first, how = runs[0], runs[0].table["protocol"].iloc[0]
    for run in runs:
        if (run.table["protocol"] != how).any():
            raise ValueError(
                f"{run.run.path} and {first.run.path} were measured by different protocols and cannot share "
                "a plot; track them one by one"
            )
