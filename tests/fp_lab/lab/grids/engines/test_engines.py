"""The same figures wherever arms are done, and lost workers are begun again."""

import errno
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from rich.console import Console

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.locking import only_one
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.engines import ENGINES, Engine, InProcess, local, make_engine
from fp_lab.lab.grids.engines.journal import JOURNAL_FILE
from fp_lab.lab.grids.engines.local import Local, workers_that_fit
from fp_lab.lab.grids.engines.restarting import ATTEMPTS, Lost, RestartingEngine
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import grid_jobs, run_grid
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runs import run_job as run_job_module
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runs.run_job import run_job
from fp_lab.lab.runtime.reporter import Reporter

QUIET = Console(quiet=True)
GRID = """\
base: tiny
common: {section: 3, training.checkpoint_every: 1}
axes: {compression: [f2k2f1k1], order: [vanilla, inverted]}
"""


@pytest.fixture(scope="module")
def folder(folder: Path) -> Path:
    (folder / "two.yaml").write_text(GRID)
    return folder


def figures(runs: Path) -> dict[str, bytes]:
    """Models, samples, videos' scores and summaries of all arms, by their place."""
    folder = runs / "two"
    files = [*folder.rglob("*.safetensors"), *folder.rglob("summary.json"), *folder.rglob("videos.parquet")]
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    assert len(found) == 2 * 5 + 4, sorted(
        found
    )  # model, two videos, two scores; of the truth without a model
    return found


def run(folder: Path, runs: Path, engine: Engine | None) -> None:
    grid = load_grid(folder / "two.yaml")
    result = run_grid(grid, runs, QUIET, command="test", engine=engine)
    assert result.failed == {}
    assert result.report is not None


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, bytes]:
    """The figures of the grid, one arm after another in this process."""
    run(folder, folder / "here", None)
    return figures(folder / "here")


def test_two_local_workers_make_the_same_bits(folder: Path, undisturbed: dict[str, bytes]) -> None:
    run(folder, folder / "local", Local(2, folder / "local" / "cache"))
    assert figures(folder / "local") == undisturbed


def test_slurm_by_submitits_local_executor_makes_the_same_bits(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    runs = folder / "slurm"
    run(folder, runs, make_engine("slurm", 2, runs / "cache", {"cluster": "local", "timeout_min": "10"}))
    assert figures(runs) == undisturbed


class KillOnce(Engine):
    """Kills the first worker that has begun to train, and lets another engine do the rest."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.killed: list[int] = []
        self._jobs: list[Job] = []

    def __enter__(self) -> Engine:
        self.engine.__enter__()
        return self

    @property
    def free(self) -> bool:
        return self.engine.free

    def submit(self, job: Job, reporter: Reporter) -> None:
        self._jobs.append(job)
        self.engine.submit(job, reporter)

    def ended(self) -> list[tuple[Job, Outcome]]:
        until = time.monotonic() + 60
        while not self.killed and time.monotonic() < until:
            journals = [job.folder / JOURNAL_FILE for job in self._jobs]
            training = [path for path in journals if path.is_file() and '["train"' in path.read_text()]
            self.killed = [pid for path in training[:1] for pid in _writers(path)]
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)  # workers that begin need the core
        return self.engine.ended()

    def close(self) -> None:
        self.engine.close()


def _writers(path: Path) -> list[int]:
    """Processes that have a file open, other than this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(path.resolve()) in {f.path for f in process.open_files()}:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_ray_makes_the_same_bits_and_begins_a_killed_worker_again(
    folder: Path, undisturbed: dict[str, bytes]
) -> None:
    runs = folder / "ray"
    engine = KillOnce(make_engine("ray", 2, runs / "cache", {}))
    run(folder, runs, engine)
    assert len(engine.killed) == 1
    assert figures(runs) == undisturbed


def test_a_killed_local_worker_is_begun_again(folder: Path, undisturbed: dict[str, bytes]) -> None:
    runs = folder / "killed"
    engine = KillOnce(Local(2, runs / "cache"))
    run(folder, runs, engine)
    assert len(engine.killed) == 1
    assert figures(runs) == undisturbed


class Hopeless(RestartingEngine[int]):
    """All of its workers are lost."""

    started = 0

    def _start(self, job: Job) -> int:
        self.started += 1
        return self.started

    def _look(self, handle: int) -> Outcome | Lost | None:
        return Lost("killed by SIGKILL")

    def close(self) -> None:
        pass


def test_a_job_whose_workers_are_always_lost_fails_in_the_end(folder: Path) -> None:
    job = grid_jobs(load_grid(folder / "two.yaml"), folder / "hopeless")[0]
    engine = Hopeless(1)
    engine.submit(job, Reporter())
    assert not engine.free
    ended = [end for _ in range(ATTEMPTS) for end in engine.ended()]
    assert engine.started == ATTEMPTS
    ((ended_job, outcome),) = ended
    assert ended_job is job
    assert outcome.state == "failed"
    assert "SIGKILL" in outcome.reason
    assert RunFolder(job.folder).failure(job.key) == outcome.reason


@pytest.mark.parametrize(
    ("name", "workers", "options", "message"),
    [
        ("lokal", None, {}, "got 'lokal', expected .*local, ray, slurm"),
        ("local", 0, {}, "--workers: got 0, expected .*1"),
        ("local", 2, {"a": "b"}, r"\blocal .*\boptions, got a\b"),
        ("ray", 2, {"adress": "auto"}, "options address, num_gpus, got adress"),
        ("slurm", 2, {"cluster": "moon"}, r"\bslurm .*moon"),
        (
            "slurm",
            2,
            {"cluster": "local", "tiemout_min": "3"},
            r"\bslurm .*tiemout_min",
        ),
    ],
)
def test_an_engine_that_cannot_be_meant_is_refused(
    tmp_path: Path, name: str, workers: int | None, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_engine(name, workers, tmp_path / "cache", options)


def test_one_local_worker_is_this_process(tmp_path: Path) -> None:
    assert list(ENGINES) == ["local", "ray", "slurm"]
    assert isinstance(make_engine("local", None, tmp_path, {}), InProcess)
    assert isinstance(make_engine("local", 1, tmp_path, {}), InProcess)
    assert isinstance(make_engine("local", 2, tmp_path, {}), Local)


def test_an_arm_at_which_another_process_is_is_left_alone(folder: Path) -> None:
    job = grid_jobs(load_grid(folder / "two.yaml"), folder / "busy")[0]
    with only_one(RunFolder(job.folder).lock):
        outcome = run_job(job, Materials(job.cache, Reporter()), Reporter())
    assert outcome.state == "busy"
    assert not RunFolder(job.folder).config.exists()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "halted"),
        (OSError(errno.EROFS, "Read-only file system"), "halted"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "failed"),
        (RuntimeError("a bad arm"), "failed"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_no_fault_of_the_arm(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, state: str
) -> None:
    job = replace(grid_jobs(load_grid(folder / "two.yaml"), tmp_path)[0], stages=("train",))

    def fail(*given: object, **more: object) -> None:
        raise ValueError("while saving") from error

    monkeypatch.setattr(run_job_module, "run", fail)
    outcome = run_job(job, Materials(job.cache, Reporter()), Reporter())
    assert outcome.state == state
    assert (RunFolder(job.folder).failure(job.key) is not None) is (state == "failed")


def test_a_full_disk_is_named_whatever_a_library_says_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch does: unexpected pos 64 vs 0."""
    job = replace(grid_jobs(load_grid(folder / "two.yaml"), tmp_path)[0], stages=("train",))

    def fail(*given: object, **more: object) -> None:
        job.folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2**20))
        raise RuntimeError("unexpected pos 64 vs 0")

    monkeypatch.setattr(run_job_module, "run", fail)
    outcome = run_job(job, Materials(job.cache, Reporter()), Reporter())
    assert outcome.state == "halted"
    assert outcome.reason.startswith(f"{job.folder}: 1.0 MiB are free")


@pytest.mark.parametrize(
    ("threads", "cores", "gigabytes", "workers"),
    [(1, 2, 4.0, 2), (2, 2, 4.0, 1), (1, 16, 4.0, 2), (1, 16, 64.0, 3), (4, 2, 4.0, 1), (1, 2, 0.5, 1)],
)
def test_as_many_arms_at_once_as_cores_and_memory_allow(
    config: ExperimentConfig,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    cores: int,
    gigabytes: float,
    workers: int,
) -> None:
    monkeypatch.setattr(local, "available_cores", lambda: cores)
    memory = SimpleNamespace(available=int(gigabytes * 1e9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    arm = replace(config, training=replace(config.training, threads=threads))
    assert workers_that_fit([arm] * 3) == workers


def test_real_models_are_done_one_at_a_time(config: ExperimentConfig) -> None:
    real = replace(config, model=replace(config.model, base="Wan-AI/Wan2.1-T2V-1.3B-Diffusers"))
    assert workers_that_fit([config, real]) == 1
