"""What SLURM says of jobs, read through a `sacct` that says anything: nothing hangs, no outcome is lost."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from submitit.slurm.slurm import SlurmJob

from fp_lab.lab.grids.engines import slurm as slurm_module
from fp_lab.lab.grids.engines.engine import Lost
from fp_lab.lab.grids.engines.slurm import Slurm
from fp_lab.lab.runs.job import Outcome

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
