"""Work on one arm of a grid: it is brought up to date, and its errors do not end the grid."""

import shutil
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fp_lab.lab.files.atomic import CANNOT_WRITE
from fp_lab.lab.files.locking import Busy, only_one
from fp_lab.lab.files.run_folder import STAGES, RunFolder, Stage
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.inputs import InputsChanged
from fp_lab.lab.provenance.stage_keys import StageKeys, stage_keys
from fp_lab.lab.runs.identity import FolderTaken, Identity, require_own_folder, results_in, write_identity
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.noise_floor import prepare_truth
from fp_lab.registry import load_plugins, message_of

_TRIES = 3  # to do an arm whose clips or weights change meanwhile
_NEARLY_FULL = 16 * 2**20  # bytes; libraries do not always say why a file could not be written


def run_job(job: Job, materials: Materials, reporter: Reporter) -> Outcome:
    """Bring an arm up to date; failures are recorded in its folder and not raised.

    Args:
        job: arm to bring up to date.
        materials: materials shared with other arms of this process.
        reporter: receiver of progress, and of the start of the arm.
    """
    place, started = RunFolder(job.folder), time.monotonic()
    try:
        with only_one(place.lock, wait=False):
            require_own_folder(place.path.parent, job.identity)
            reporter.started()
            load_plugins(job.config.plugins)  # this may be another process than the one that read the config
            materials.reporter = reporter
            return _bring_up_to_date(job, place, materials, reporter, started)
    except Busy:
        return Outcome("busy", reason="another process is at it")
    except FolderTaken as error:
        return Outcome("failed", reason=_line(error))
    except OSError as error:
        return Outcome("halted", reason=_line(error))


def _bring_up_to_date(
    job: Job, place: RunFolder, materials: Materials, reporter: Reporter, started: float
) -> Outcome:
    try:
        done = _with_unchanged_inputs(job, materials, reporter)
    except Exception as error:  # whatever goes wrong in one arm, the others can still be measured
        seconds = time.monotonic() - started
        if fault := _folders_fault(error, place.path):
            return Outcome("halted", seconds=seconds, reason=fault)
        place.record_failure(job.key, _line(error), "".join(traceback.format_exception(error)))
        return Outcome("failed", seconds=seconds, reason=_line(error))
    place.forget_failure()
    return Outcome("done", tuple(done), time.monotonic() - started)


def _with_unchanged_inputs(job: Job, materials: Materials, reporter: Reporter) -> list[Stage]:
    """Run the pending stages and return them, repeated where clips or weights changed meanwhile."""
    keys = job.keys
    for _ in range(_TRIES):
        try:
            if "score" in job.stages:
                prepare_truth(job.truth, job.config, materials, reporter, keys)
            return run(
                job.folder,
                job.config,
                materials,
                reporter,
                truth=job.truth,
                stages=job.stages,
                keys=keys,
                trained=job.trained,
            )
        except InputsChanged as change:
            keys = _take_inputs_as_they_are(job, change)
            reporter.say(f"{job.label}: {change}; done again")
            last = change
    raise last


def _take_inputs_as_they_are(job: Job, change: InputsChanged) -> StageKeys:
    """Assign the folder to the current inputs, unless there are results of the earlier ones.

    Returns:
        Keys of the job's stages with the current inputs.

    Raises:
        InputsChanged: results, or the ground truth of other arms, would be replaced.
    """
    fresh = stage_keys(job.config)
    now, keys = Identity.of(job.config, fresh), fresh.again(job.redone)
    if now.same_results(job.identity):
        return keys
    runs = results_in(job.folder.parent)
    done = any(run.done_file(stage).exists() for run in runs for stage in STAGES)
    if done or keys.truth != job.keys.truth:
        raise InputsChanged(f"{change}; the same command takes it as it is now") from change
    write_identity(job.folder.parent, replace(now, redone=job.identity.redone))
    return keys


def _folders_fault(error: BaseException, folder: Path) -> str:
    """Fault of the folder behind an error, in one line; empty where it is the arm's own."""
    if any(isinstance(cause, OSError) and cause.errno in CANNOT_WRITE for cause in _causes(error)):
        return _line(error)
    if folder.exists() and (free := shutil.disk_usage(folder).free) < _NEARLY_FULL:
        return f"{folder}: {free / 2**20:.1f} MiB are free on this disk, too few to go on ({_line(error)})"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(message_of(error).splitlines() or [''])[0]}"
