"""What SLURM says of jobs, read through a `sacct` that says anything: nothing hangs, no outcome is lost."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from submitit.slurm.slurm import SlurmJob

from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.engines import restarting
from fp_lab.lab.grids.engines import slurm as slurm_module
from fp_lab.lab.grids.engines.restarting import ATTEMPTS, Lost
from fp_lab.lab.grids.engines.slurm import Slurm
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runs.identity import Identity
from fp_lab.lab.runs.job import Job, Outcome
from fp_lab.lab.runtime.reporter import Reporter

HEADS = "JobID|State|NodeList\n"
ALIVE = ("PENDING", "RUNNING", "COMPLETING", "REQUEUED")
LOST = ("FAILED", "CANCELLED by 1000", "CANCELLED+", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE")
ODD = {
    "nothing": "",
    "heads alone": HEADS,
    "NaN": "NaN\n",
    "NaN everywhere": f"{HEADS}NaN|NaN|NaN\n",
    "a NaN for a state": f"{HEADS}7|NaN|None assigned\n",
    "no state": f"{HEADS}7||\n",
    "UNKNOWN": f"{HEADS}7|UNKNOWN|\n",
    "a state of a later version": f"{HEADS}7|HIBERNATING|node1\n",
    "other columns": "Job|Status\n7|RUNNING\n",
    "a line cut off": f"{HEADS}7\n",
    "another job": f"{HEADS}8|RUNNING|node1\n",
    "an error": "slurm_load_jobs error: Unable to contact slurm controller\nexit\n",
    "no UTF-8": "\udcff\udcfe|\n7|x\n",
}

SUBMITTED = {
    "nothing": ("exit 0", "Could not make sense of sbatch output"),
    "other words": ("echo Submitted NaN", "Submitted NaN"),
    "escape sequences": ("printf 'Sub\\033[2Jmitted'", "Sub\\x1b[2Jmitted"),
    "no UTF-8": ("printf '\\377\\376'", "sbatch: "),
    "an error": ("echo 'sbatch: error: QOSMaxSubmit' >&2; exit 1", "QOSMaxSubmit"),
    "an error without a word": ("exit 3", "sbatch: FailedJobError"),
}
"""Program -> what is said of its answer."""
SPOILT = {
    "cut off": pickle.dumps(("success", Outcome("done")))[:-9],
    "another kind": pickle.dumps(("success", 3)),
    "no pair": pickle.dumps(3),
    "a class that is none": b"cos\nnothing_of_that_name\n.",
    "nothing": b"",
}


def made_job(config: ExperimentConfig, folder: Path) -> Job:
    place, keys, truth = folder / "arm" / "seed0", stage_keys(config), folder / "truth"
    return Job("arm", config, keys, Identity.of(config), place, truth, folder / "cache", ("train",))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `sacct` reads aloud; time goes on only when it is told to."""
    programs, answer = tmp_path / "bin", tmp_path / "answer"
    programs.mkdir()
    answer.write_text(HEADS)
    does = {"sacct": f"/bin/cat {answer}"} | dict.fromkeys(("srun", "sbatch", "scancel"), "exit 1")
    for name, line in does.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(slurm_module, "_ASK_EVERY", 0.0)
    return answer


@pytest.fixture
def job(tmp_path: Path) -> Any:
    SlurmJob.watcher.clear()
    return SlurmJob(folder=tmp_path, job_id="7", tasks=[0])


def looks(engine: Slurm, job: Any, cluster: Path, answer: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    cluster.write_bytes(answer.encode(errors="surrogateescape"))
    SlurmJob.watcher.clear()
    job._results_timeout_s = 0  # for slow file systems, by default 15 s
    return engine._look(job)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_waited_over_and_the_outcome_is_found(
    name: str, cluster: Path, job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Slurm(1, tmp_path, {"timeout_min": "10"})
    now = 1000.0
    monkeypatch.setattr(slurm_module.time, "monotonic", lambda: now)
    for _ in range(3):
        assert looks(engine, job, cluster, ODD[name], monkeypatch) is None
    now += 11 * 60
    lost = looks(engine, job, cluster, ODD[name], monkeypatch)
    assert isinstance(lost, Lost), "a job of ten minutes of which nobody has heard for eleven"
    job.paths.result_pickle.write_bytes(pickle.dumps(("success", Outcome("done"))))
    assert looks(engine, job, cluster, ODD[name], monkeypatch) == Outcome("done")


def test_states_are_what_slurm_says_they_are(
    cluster: Path, job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Slurm(1, tmp_path, {"timeout_min": "10"})
    for state in ALIVE:
        assert looks(engine, job, cluster, f"{HEADS}7|{state}|\n", monkeypatch) is None
    for state in LOST:
        lost = looks(engine, job, cluster, f"{HEADS}7|{state}|\n", monkeypatch)
        assert isinstance(lost, Lost), state
    assert looks(engine, job, cluster, f"{HEADS}7|HIBERNATING|\n", monkeypatch) is None
    assert isinstance(looks(engine, job, cluster, f"{HEADS}7|FAILED|\n", monkeypatch), Lost), "asked again"


def test_a_result_that_cannot_be_read_is_a_lost_worker(
    cluster: Path, job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Slurm(1, tmp_path, {})
    job.paths.result_pickle.write_bytes(b"junk")
    assert isinstance(looks(engine, job, cluster, f"{HEADS}7|COMPLETED|\n", monkeypatch), Lost)


@pytest.mark.parametrize("answer", SPOILT, ids=SPOILT)
def test_a_result_of_another_kind_is_a_lost_worker(
    answer: str, cluster: Path, job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Slurm(1, tmp_path, {})
    job.paths.result_pickle.write_bytes(SPOILT[answer])
    assert isinstance(looks(engine, job, cluster, f"{HEADS}7|COMPLETED|\n", monkeypatch), Lost)


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("answer", SUBMITTED, ids=SUBMITTED)
def test_an_odd_answer_to_a_submission_fails_that_arm_in_the_end(
    answer: str, cluster: Path, config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, said = SUBMITTED[answer]
    (cluster.parent / "bin" / "sbatch").write_text(f"#!/bin/sh\n{program}\n")
    now = 1000.0
    monkeypatch.setattr(restarting.time, "monotonic", lambda: now)
    job = made_job(config, tmp_path)
    told = Told()
    engine = Slurm(1, tmp_path / "logs", {})
    engine.submit(job, told)
    for _ in range(ATTEMPTS):
        assert engine.ended() == [], "it is tried again later"
        now += 31
        ended = engine.ended()
    ((_, outcome),) = ended
    assert outcome.state == "failed"
    assert said in outcome.reason
    assert outcome.reason.isprintable()
    assert outcome.reason == RunFolder(job.folder).failure(job.key)
    assert len(told.lines) == ATTEMPTS - 1
    assert all("could not be started" in line and said in line for line in told.lines)
    assert engine.free
    engine.submit(job, told)
    engine.close()


def test_a_submission_that_is_taken_at_the_second_time_goes_on(
    cluster: Path, config: ExperimentConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(restarting.time, "monotonic", lambda: now)
    program = cluster.parent / "bin" / "sbatch"
    program.write_text("#!/bin/sh\necho 'Socket timed out on send/recv operation' >&2\nexit 1\n")
    engine = Slurm(1, tmp_path / "logs", {})
    engine.submit(made_job(config, tmp_path), told := Told())
    program.write_text("#!/bin/sh\necho Submitted batch job 7\n")
    now += 31
    assert engine.ended() == []
    assert "sbatch: Socket timed out" in told.lines[0]
    (handle,) = engine._handles
    handle.paths.result_pickle.write_bytes(pickle.dumps(("success", Outcome("done"))))
    ((_, outcome),) = engine.ended()
    assert outcome == Outcome("done")
