"""Execution of a grid: arms run by an engine, failures are isolated, finished arms reused."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import compress
from pathlib import Path

from rich.console import Console

from fp_lab.lab.files.atomic import keep_text, read_json
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import STAGES, TRUTH_FOLDER, RunFolder, Stage, digest
from fp_lab.lab.grids.cautions import cautions
from fp_lab.lab.grids.engines import Engine, InProcess
from fp_lab.lab.grids.grid import Arm, Grid
from fp_lab.lab.grids.placement import Placed, place_arms, release_unused, reserve_folders
from fp_lab.lab.grids.progress import GridProgress
from fp_lab.lab.grids.scheduler import ArmScheduler
from fp_lab.lab.provenance.data_identity import clips_folder
from fp_lab.lab.results.efficiency import FILE as MEASURED
from fp_lab.lab.runs.identity import assigning_folders
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runs.other_code import made_by_other_code
from fp_lab.lab.runtime.environment import git_state
from fp_lab.lab.tracking import TrackedRun, Tracker, Unreachable

_TRUTH_FILE = "truth.json"


@dataclass(frozen=True)
class GridResult:
    """Outcome of a grid.

    Attributes:
        folder: folder of the grid.
        reported: folder of the command's ``grid.yaml`` and ``report``; that of the grid unless all arms lie
            beside others.
        runs: run folders of the arms.
        report: page that compares the arms; None where scores are missing.
        failed: labels of arms that did not finish, with the reason.
        halted: reason why the grid was stopped; empty unless its folder could not be written to.
    """

    folder: Path
    reported: Path
    runs: tuple[Path, ...]
    report: Path | None
    failed: dict[str, str]
    halted: str = ""


def fetch_data(grid: Grid, console: Console) -> None:
    """Fetch clips that a grid needs and that are missing."""
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
    in_place: bool = False,
    redo: bool = False,
    efficiency: bool = False,
    look: bool | None = False,
) -> GridResult:
    """Bring every arm up to date, then compare them.

    Args:
        grid: grid with the arms.
        runs: folder of runs.
        console: console that shows progress.
        command: command line, for the report.
        stages: stages to run, the first ones of `STAGES`; without scores there is no report.
        engine: engine that runs arms; None: one after another in this process.
        retry_failed: whether to retry arms that failed before, though nothing about them has changed.
        in_place: whether to replace other results in the folders of the arms' names.
        redo: whether to repeat all stages.
        efficiency: whether to measure batch and time efficiency of the arms in turn, when they are done.
        look: whether to refuse arms that change nothing, see `fp_lab.lab.grids.changes`; None: in a grid that
            is small enough.

    Raises:
        KeyboardInterrupt: re-raised after the tracked runs are closed as killed.
        ValueError: results cannot be replaced, see `reserve_folders`, an arm is not feasible, see
            `check_feasible`, or an arm changes nothing.
    """
    with (
        _claimed(grid, runs, stages, in_place=in_place, redo=redo) as (placed, jobs),
        GridProgress(console, len(jobs)) as progress,
        engine or InProcess(runs / "cache") as where,
    ):
        pending = [arm for arm, job in zip(placed.grid.arms, jobs, strict=True) if job.pending]
        _check(pending, where)
        if look is not False:
            _look(placed.grid, pending, look, progress)
        _describe(placed, command)
        for line in (*placed.lines, *made_by_other_code(jobs)):
            progress.say(line)
        tracker = Tracker(runs, progress.say)
        with tracker.grid(placed.title, placed.reported).closing() as parent:
            running = ArmScheduler(jobs, where, tracker, parent, progress)
            for caution in cautions(pending):
                progress.say(caution)
            running.run(retry_failed)
            if efficiency and not running.halted:
                alive = [job.label not in running.failed for job in jobs]
                running.log_efficiency(_measured(placed, alive, progress))
            report = None
            if "score" in stages and not running.halted and len(running.failed) < len(jobs):
                report = _report(placed, jobs, command, progress)
            running.catch_up()
            if running.failed or running.halted:
                parent.fail()
            _log_report(placed.reported, report, parent)
    ran = tuple(job.folder for job in jobs)
    return GridResult(placed.folder, placed.reported, ran, report, running.failed, running.halted)


def _check(arms: Sequence[Arm], engine: Engine) -> None:
    if arms:
        from fp_lab.lab.grids.feasible import check_feasible  # slow to import

        check_feasible(arms, on_this_machine=engine.on_this_machine)


def _look(grid: Grid, pending: Sequence[Arm], look: bool | None, progress: GridProgress) -> None:
    """Refuse arms that change nothing; one arm alone has nothing to differ from."""
    if pending and len({arm.name for arm in grid.arms}) > 1:
        from fp_lab.lab.grids.changes import refuse_unchanged  # slow to import

        with progress.busy("first batches"):
            remarks = refuse_unchanged(grid, {arm.name for arm in pending}, look)
        for remark in remarks:
            progress.say(remark)


@contextmanager
def _claimed(
    grid: Grid, runs: Path, stages: Sequence[Stage], *, in_place: bool, redo: bool
) -> Iterator[tuple[Placed, list[Job]]]:
    """Reserve folders for the arms; return them with their jobs."""
    folder = runs / grid.name
    with assigning_folders(folder):
        placed = reserve_folders(grid, folder, in_place=in_place, redo=redo)
        jobs = placed_jobs(placed, runs, stages)
        if "score" in stages:
            _begin_truths(jobs, redo)
    try:
        yield placed, jobs
    finally:
        release_unused(placed)


def grid_jobs(grid: Grid, runs: Path, stages: Sequence[Stage] = STAGES) -> list[Job]:
    """Return the arms of a grid as jobs, in the folders they would get now, in the grid's order."""
    return placed_jobs(place_arms(grid, runs / grid.name), runs, stages)


def placed_jobs(placed: Placed, runs: Path, stages: Sequence[Stage] = STAGES) -> list[Job]:
    """Return arms with chosen folders as jobs, in order."""
    folder = placed.folder
    first = _truth_key(folder / TRUTH_FOLDER) or placed.keys[0].truth
    return [
        Job(
            label=f"{arm.place} seed {arm.seed}",
            config=arm.config,
            keys=keys,
            identity=identity,
            folder=folder / arm.folder,
            truth=folder / (TRUTH_FOLDER if keys.truth == first else f"{TRUTH_FOLDER}-{keys.truth[:8]}"),
            cache=runs / "cache",
            stages=tuple(stages),
            trained=(*trained, *siblings),
        )
        for arm, identity, keys, trained, siblings in zip(
            placed.grid.arms, placed.identities, placed.keys, placed.trained, _siblings(placed), strict=True
        )
    ]


def _siblings(placed: Placed) -> list[list[Path]]:
    """For each arm the run folders of the arms of this command that are trained in the same way."""
    folders = [placed.folder / arm.folder for arm in placed.grid.arms]
    same = defaultdict(list)
    for keys, folder in zip(placed.keys, folders, strict=True):
        same[keys.train].append(folder)
    return [
        # checkpoints to track have scores of their arm's own sampling, so such an arm trains for itself
        [] if arm.config.track.every else [other for other in same[keys.train] if other is not folder]
        for arm, keys, folder in zip(placed.grid.arms, placed.keys, folders, strict=True)
    ]


def _truth_key(truth: Path) -> str:
    """Key of a folder of the ground truth's scores; empty where it does not exist."""
    marks = (truth / _TRUTH_FILE, RunFolder(truth).done_file("truth"))
    unknown = "unknown" if truth.exists() else ""
    for mark in marks:
        if mark.is_file():
            with suppress(ValueError):  # damaged: for what it was is unknown
                return str(read_json(mark).get("key", unknown))
    return unknown


def _begin_truths(jobs: Sequence[Job], redo: bool) -> None:
    """Record the evaluation set of each ground truth, before another command looks for one."""
    for job in jobs:
        keep_text(job.truth / _TRUTH_FILE, json.dumps({"key": job.keys.truth}) + "\n")
        if redo:
            RunFolder(job.truth).done_file("truth").unlink(missing_ok=True)


def _measured(placed: Placed, alive: Sequence[bool], progress: GridProgress) -> dict[str, dict[str, float]]:
    from fp_lab.lab.grids.measure_efficiency import efficiency_of

    grid = replace(placed.grid, arms=tuple(compress(placed.grid.arms, alive)))
    if not grid.arms:
        return {}
    try:
        with progress.busy("efficiency"):
            return efficiency_of(grid, placed.folder)
    except ValueError as error:
        progress.say(f"Efficiency was not measured: {error}")
        return {}


def _describe(placed: Placed, command: str) -> None:
    keep_text(placed.reported / "grid.yaml", placed.grid.to_yaml())
    keep_text(placed.reported / "command.txt", command + "\n")


def _report(placed: Placed, jobs: Sequence[Job], command: str, progress: GridProgress) -> Path:
    """Write the page of this command's arms, unless an intact one is newer than they are.

    Another command of the same grid waits to write its own.
    """
    with only_one(placed.reported / ".report.lock"):
        _describe(placed, command)
        place, key = RunFolder(placed.reported), _shown(placed, jobs)
        if not place.is_done("report", key):
            from fp_lab.lab.report import write_report

            for line in place.set_aside("report"):
                progress.say(line)
            for unfinished in (placed.reported / "report").glob(".*"):  # of a process that was killed
                unfinished.unlink()
            with progress.busy("report"), place.doing("report", key):
                ran = [job.folder for job in jobs if job.folder.is_dir()]
                write_report(placed.folder, ran, placed.reported)
    return placed.reported / "report" / "index.html"


def _shown(placed: Placed, jobs: Sequence[Job]) -> str:
    """State of a report's content: a hash of names, sizes and times of all files of its arms."""
    state = {}
    for folder in sorted({place for job in jobs for place in (job.folder, job.truth)}):
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.startswith("."):
                found = file.stat()
                inner = file.relative_to(placed.folder).as_posix()
                state[inner] = [found.st_size, found.st_mtime_ns]
    if (measured := placed.folder / MEASURED).is_file():
        state[MEASURED.as_posix()] = [measured.stat().st_size, measured.stat().st_mtime_ns]
    described = {"files": state, "grid": placed.grid.to_yaml()}
    return digest(described | {"version": version("fp_lab"), "git": git_state()})


def _log_report(reported: Path, report: Path | None, parent: TrackedRun) -> None:
    """Log the report to MLflow, if there is one; without an answer the same command sends it later."""
    if report is not None:
        files = sorted(file for file in report.parent.glob("[!.]*") if file.is_file())
        with suppress(Unreachable):
            parent.log_missing_files([reported / "grid.yaml", *files], "report")
