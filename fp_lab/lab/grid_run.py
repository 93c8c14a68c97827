"""Run a grid: one arm after another, failures apart from the others, finished ones found again."""

import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from fp_carriers import cache_folder
from fp_lab.codec import WEIGHTS_FILE
from fp_lab.lab.atomic import write_text
from fp_lab.lab.build import Materials, clip_files, clips_folder, source_folder
from fp_lab.lab.config import CARRIED, flatten
from fp_lab.lab.finished import record_finished
from fp_lab.lab.grid import Arm, Grid
from fp_lab.lab.keys import StageKeys, stage_keys
from fp_lab.lab.progress import GridProgress
from fp_lab.lab.reporter import Step
from fp_lab.lab.run import pending_stages, prepare_truth, run
from fp_lab.lab.stages import STAGES, RunFolder, Stage, digest
from fp_lab.lab.summary import headline
from fp_lab.lab.tracking import TrackedRun, Tracker


@dataclass(frozen=True)
class GridResult:
    """How a grid ended.

    Attributes:
        folder: of the grid.
        report: page that compares the arms; None where scores are missing.
        failed: labels of arms that did not finish.
    """

    folder: Path
    report: Path | None
    failed: tuple[str, ...]


def fetch_data(grid: Grid, console: Console) -> None:
    """Bring clips that a grid needs and that are not there yet."""
    for clips in {arm.config.data.clips for arm in grid.arms if arm.config.data.kind == "clips"}:
        clips_folder(
            clips, lambda line: None if "there already" in line else console.print(line, markup=False)
        )


def plan_table(grid: Grid, runs: Path) -> Table:
    """What a grid would do: its arms, and the stages that are done."""
    table = Table(
        title=f"Grid {grid.name}: {len(grid.arms)} runs in {runs / grid.name}", title_justify="left"
    )
    for column in ("arm", "seed", "order", *STAGES):
        table.add_column(column, overflow="fold")
    for arm in grid.arms:
        pending = pending_stages(RunFolder(runs / grid.name / arm.folder), stage_keys(arm.config))
        marks = ["to do" if stage in pending else "done" for stage in STAGES]
        table.add_row(arm.name, str(arm.seed), arm.config.parsed_recipe.order, *marks)
    return table


def run_grid(
    grid: Grid,
    runs: Path,
    console: Console,
    *,
    command: str,
    stages: Sequence[Stage] = STAGES,
    record: Path | None = None,
) -> GridResult:
    """Bring every arm up to date, then compare them.

    Args:
        grid: the arms.
        runs: folder of runs.
        console: where progress is shown.
        command: that asked for it, for the report.
        stages: a beginning of `STAGES`; without scores there is no report.
        record: where to note that the grid is complete, see `fp_lab.lab.finished`.

    Raises:
        KeyboardInterrupt: after the tracked runs are closed as killed.
    """
    folder = runs / grid.name
    write_text(folder / "grid.yaml", grid.to_yaml())
    write_text(folder / "command.txt", command + "\n")
    keys = {arm.folder: stage_keys(arm.config) for arm in grid.arms}
    tracker = Tracker(runs)
    failed: list[str] = []
    with (
        tracker.grid(grid.name, folder).closing() as parent,
        GridProgress(console, len(grid.arms)) as progress,
    ):
        materials = Materials(runs / "cache", progress)
        for number, arm in enumerate(grid.arms, start=1):
            label = f"{arm.name} seed {arm.seed}"
            progress.arm(number, len(grid.arms), label)
            key = digest({"folder": str((folder / arm.folder).resolve()), "config": asdict(arm.config)})
            tracked = tracker.arm(parent, label, key, flatten(asdict(arm.config)))
            own = keys[arm.folder]
            truth = _truth_folder(folder, keys[grid.arms[0].folder], own)
            place = f"[{number}/{len(grid.arms)}]"
            if not _run_arm(arm, own, folder, truth, tracked, materials, progress, place, stages):
                failed.append(label)
                parent.fail()
            progress.arm_done(number)
        report = None
        if "score" in stages and len(failed) < len(grid.arms):
            report = _report(grid, folder, parent, progress)
    if report and not failed and record:
        record_finished(record, folder, len(grid.arms), _files_behind(grid, folder, report))
    return GridResult(folder, report, tuple(failed))


def _truth_folder(folder: Path, first: StageKeys, own: StageKeys) -> Path:
    """The ground truth's scores are shared by the arms that have the same evaluation set."""
    return folder / ("truth" if own.truth == first.truth else f"truth-{own.truth[:8]}")


def _run_arm(
    arm: Arm,
    keys: StageKeys,
    grid_folder: Path,
    truth: Path,
    tracked: TrackedRun,
    materials: Materials,
    progress: GridProgress,
    number: str,
    stages: Sequence[Stage],
) -> bool:
    """Run one arm; whether it succeeded."""
    place = RunFolder(grid_folder / arm.folder)
    progress.tracked = tracked
    started = time.monotonic()
    try:
        with tracked.closing():
            if "score" in stages:
                prepare_truth(truth, arm.config, materials, progress)
            done = run(place.path, arm.config, materials, progress, truth=truth, stages=stages)
            _track_results(place, tracked, getattr(keys, stages[-1]))
    except Exception as error:  # whatever goes wrong in one arm, the others can still be measured
        write_text(place.error, "".join(traceback.format_exception(error)))
        tracked.log_files([place.error], "")
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        progress.say(f"{number} {arm.name} seed {arm.seed}: FAILED, {reason} (see {place.error})")
        return False
    finally:
        progress.tracked = None
    place.error.unlink(missing_ok=True)
    what = f"{', '.join(done)} in {time.monotonic() - started:.0f} s" if done else "was done already"
    progress.say(f"{number} {arm.name} seed {arm.seed}: {what}")
    return True


def _track_results(place: RunFolder, tracked: TrackedRun, key: str) -> None:
    """Steps, figures and files of a run that is up to date, unless they were logged before."""
    if tracked.has_results(key):
        return
    columns = ["step", "loss", "learning_rate", "step_seconds"]
    for row in pd.read_parquet(place.loss)[columns].to_numpy().tolist():
        tracked.log_step(Step(int(row[0]), *row[1:]))
    figures: dict[str, float] = {}
    if place.efficiency.is_file():
        costs = json.loads(place.efficiency.read_text(encoding="utf-8"))
        figures |= {f"efficiency/{name}": value for name, value in costs.items()}
    if place.codebook.is_file():
        stats = json.loads(place.codebook.read_text(encoding="utf-8"))
        figures |= {f"codebook/{name}": value for name, value in stats.items()}
    if place.summary.is_file():
        figures |= headline(json.loads(place.summary.read_text(encoding="utf-8")))
        tracked.log_files([place.summary], "scores")
    tracked.log_figures(figures)
    tracked.log_files([place.config], "")
    tracked.log_files(sorted(place.samples.glob("*.mp4")), "samples")
    tracked.mark_results(key)


def _report(grid: Grid, folder: Path, parent: TrackedRun, progress: GridProgress) -> Path:
    from fp_lab.lab.report import write_report

    progress.begin("report", 1)
    report = write_report(folder)
    parent.log_files(
        [folder / "grid.yaml", *sorted(f for f in report.parent.iterdir() if f.is_file())], "report"
    )
    return report


def _files_behind(grid: Grid, folder: Path, report: Path) -> list[Path]:
    """Every file that the result of a grid depends on, and what it wrote last."""
    files = [*grid.files, report]
    for arm in grid.arms:
        place = RunFolder(folder / arm.folder)
        files += [place.done_file(stage) for stage in STAGES]
        files.append(source_folder("codec", arm.config.codec.source) / WEIGHTS_FILE)
        if arm.config.model.base is not None:
            files.append(source_folder("base", arm.config.model.base) / WEIGHTS_FILE)
        if arm.config.data.kind == "clips":
            clips = arm.config.data.clips.folder
            files += clip_files(cache_folder() / "clips" if clips == CARRIED else Path(clips))
    return list(dict.fromkeys(files))
