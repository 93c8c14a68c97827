"""Run a grid: arms by an engine, failures apart from the others, finished ones found again."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from fp_lab.lab.arm import Job
from fp_lab.lab.arms_at_work import ArmsAtWork
from fp_lab.lab.atomic import keep_text
from fp_lab.lab.cautions import cautions
from fp_lab.lab.data_identity import clips_folder
from fp_lab.lab.engines import Engine, Here
from fp_lab.lab.grid import Grid
from fp_lab.lab.index import INDEX_FILE
from fp_lab.lab.keys import StageKeys, stage_keys
from fp_lab.lab.progress import GridProgress
from fp_lab.lab.provenance import git_state
from fp_lab.lab.stages import STAGES, RunFolder, Stage, digest
from fp_lab.lab.tracking import TrackedRun, Tracker, Unreachable

_NOT_SHOWN = ("report", "report.done.json", "track", INDEX_FILE)
"""Files and folders of a grid that its report does not show."""


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
        engine: where arms are done; None: one after another in this process.
        retry_failed: try arms again that failed before, though nothing about them has changed.

    Raises:
        KeyboardInterrupt: after the tracked runs are closed as killed.
    """
    folder = runs / grid.name
    keep_text(folder / "grid.yaml", grid.to_yaml())
    keep_text(folder / "command.txt", command + "\n")
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
            _log_report(folder, report, parent)
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
    """The page, written anew unless it is there, whole, and younger than all that it shows."""
    place, key = RunFolder(folder), _shown(folder)
    if not place.is_done("report", key):
        from fp_lab.lab.report import write_report

        for line in place.set_aside("report"):
            progress.say(line)
        with progress.busy("report"), place.doing("report", key):
            write_report(folder)
    return folder / "report" / "index.html"


def _shown(folder: Path) -> str:
    """What a report shows and who wrote it: a hash of names, sizes and times of all files of a grid."""
    state = {}
    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder)
        if inner.parts[0] in _NOT_SHOWN or file.name.startswith(".") or not file.is_file():
            continue
        found = file.stat()
        state[inner.as_posix()] = [found.st_size, found.st_mtime_ns]
    return digest({"files": state, "version": version("fp_lab"), "git": git_state()})


def _log_report(folder: Path, report: Path | None, parent: TrackedRun) -> None:
    """Have MLflow show the report, if there is one; without an answer the same command sends it."""
    if report is not None:
        files = sorted(file for file in report.parent.iterdir() if file.is_file())
        with suppress(Unreachable):
            parent.log_missing_files([folder / "grid.yaml", *files], "report")
