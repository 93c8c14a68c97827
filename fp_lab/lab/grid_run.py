"""Run a grid: arms by an engine, failures apart from the others, finished ones found again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fp_carriers import cache_folder
from fp_data.shard_manifest import MANIFEST
from fp_lab.lab.arm import Job
from fp_lab.lab.arms_at_work import ArmsAtWork
from fp_lab.lab.atomic import write_text
from fp_lab.lab.build import clip_files, clips_folder
from fp_lab.lab.cache_conditions import EMPTY
from fp_lab.lab.cautions import cautions
from fp_lab.lab.config import CARRIED
from fp_lab.lab.engines import Engine, Here
from fp_lab.lab.finished import record_finished
from fp_lab.lab.grid import Grid
from fp_lab.lab.keys import StageKeys, stage_keys
from fp_lab.lab.progress import GridProgress
from fp_lab.lab.stages import STAGES, RunFolder, Stage
from fp_lab.lab.tracking import TrackedRun, Tracker, Unreachable
from fp_lab.lab.weights import weights_files


@dataclass(frozen=True)
class GridResult:
    """How a grid ended.

    Attributes:
        folder: of the grid.
        report: page that compares the arms; None where scores are missing.
        failed: labels of arms that did not finish, with the reason.
        halted: why the grid was given up; empty unless its folder could not be written to.
    """

    folder: Path
    report: Path | None
    failed: dict[str, str]
    halted: str = ""


def fetch_data(grid: Grid, console: Console) -> None:
    """Bring clips that a grid needs and that are not there yet."""
    for clips in {arm.config.data.clips for arm in grid.arms if arm.config.data.kind == "clips"}:
        clips_folder(
            clips, lambda line: None if "there already" in line else console.print(line, markup=False)
        )


def run_grid(
    grid: Grid,
    runs: Path,
    console: Console,
    *,
    command: str,
    stages: Sequence[Stage] = STAGES,
    record: Path | None = None,
    engine: Engine | None = None,
    retry_failed: bool = False,
) -> GridResult:
    """Bring every arm up to date, then compare them.

    Args:
        grid: the arms.
        runs: folder of runs.
        console: where progress is shown.
        command: that asked for it, for the report.
        stages: a beginning of `STAGES`; without scores there is no report.
        record: where to note that the grid is complete, see `fp_lab.lab.finished`.
        engine: where arms are done; None: one after another in this process.
        retry_failed: try arms again that failed before, though nothing about them has changed.

    Raises:
        KeyboardInterrupt: after the tracked runs are closed as killed.
    """
    folder = runs / grid.name
    write_text(folder / "grid.yaml", grid.to_yaml())
    write_text(folder / "command.txt", command + "\n")
    jobs = grid_jobs(grid, runs, stages)
    with GridProgress(console, len(jobs)) as progress, engine or Here(runs / "cache") as where:
        tracker = Tracker(runs, progress.say)
        with tracker.grid(grid.name, folder).closing() as parent:
            running = ArmsAtWork(jobs, where, tracker, parent, progress)
            for caution in cautions([arm for arm, job in zip(grid.arms, jobs, strict=True) if job.pending]):
                progress.say(caution)
            running.run(retry_failed)
            report = None
            if "score" in stages and not running.halted and len(running.failed) < len(jobs):
                report = _report(folder, progress)
            running.catch_up()
            if running.failed or running.halted:
                parent.fail()
            tracked = not running.unsent and _log_report(folder, report, parent)
    complete = report is not None and not running.failed and tracked
    if report and complete and record:
        record_finished(record, folder, len(grid.arms), _files_behind(grid, folder, report))
    return GridResult(folder, report, running.failed, running.halted)


def grid_jobs(grid: Grid, runs: Path, stages: Sequence[Stage] = STAGES) -> list[Job]:
    """The arms of a grid as jobs; their order is the grid's."""
    folder = runs / grid.name
    keys = [stage_keys(arm.config) for arm in grid.arms]
    return [
        Job(
            label=f"{arm.name} seed {arm.seed}",
            config=arm.config,
            keys=own,
            folder=folder / arm.folder,
            truth=_truth_folder(folder, keys[0], own),
            cache=runs / "cache",
            stages=tuple(stages),
        )
        for arm, own in zip(grid.arms, keys, strict=True)
    ]


def _truth_folder(folder: Path, first: StageKeys, own: StageKeys) -> Path:
    """The ground truth's scores are shared by the arms that have the same evaluation set."""
    return folder / ("truth" if own.truth == first.truth else f"truth-{own.truth[:8]}")


def _report(folder: Path, progress: GridProgress) -> Path:
    from fp_lab.lab.report import write_report

    with progress.busy("report"):
        return write_report(folder)


def _log_report(folder: Path, report: Path | None, parent: TrackedRun) -> bool:
    """Whether MLflow has the report, if there is one."""
    if report is None:
        return False
    try:
        files = sorted(file for file in report.parent.iterdir() if file.is_file())
        parent.log_files([folder / "grid.yaml", *files], "report")
    except Unreachable:
        return False
    return True


def _files_behind(grid: Grid, folder: Path, report: Path) -> list[Path]:
    """Every file that the result of a grid depends on, and what it wrote last."""
    files = [*grid.files, report]
    for arm in grid.arms:
        place = RunFolder(folder / arm.folder)
        files += [place.done_file(stage) for stage in STAGES]
        files += weights_files("codec", arm.config.codec.source)
        if arm.config.model.base is not None:
            files += weights_files("base", arm.config.model.base)
        if arm.config.data.kind == "clips":
            clips = arm.config.data.clips.folder
            files += clip_files(cache_folder() / "clips" if clips == CARRIED else Path(clips))
        if arm.config.data.cache is not None:
            files += [Path(arm.config.data.cache) / name for name in (MANIFEST, EMPTY)]
    return list(dict.fromkeys(files))
