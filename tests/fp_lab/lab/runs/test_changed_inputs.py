"""Weights that are replaced between planning and doing: no result stands for either state."""

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures import tiny_config
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.inputs import InputsChanged
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runs.identity import Identity, identity_in
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runs.run import run
from fp_lab.lab.runs.run_job import run_job
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.model import FramePackModel


def another_base(folder: Path) -> None:
    base = FramePackModel.load(folder / "base")
    next(base.parameters()).data += 0.25
    base.save(folder / "base")


def planned(folder: Path) -> Job:
    """An arm as a grid plans it: it will only train."""
    config = tiny_config(folder)
    keys, place = stage_keys(config), folder / "runs" / "grid"
    return Job(
        label="arm",
        config=config,
        keys=keys,
        identity=Identity.of(config, keys),
        folder=place / "arm" / "seed0",
        truth=place / "truth",
        cache=folder / "cache",
        stages=("train",),
    )


def test_a_run_with_keys_of_other_weights_is_refused_before_it_trains(tmp_path: Path) -> None:
    job = planned(tmp_path)
    another_base(tmp_path)
    with pytest.raises(InputsChanged):
        run(job.folder, job.config, Materials(job.cache, Reporter()), Reporter(), keys=job.keys)
    assert not (job.folder / "train").exists()


def test_an_arm_without_results_takes_the_weights_as_they_are(tmp_path: Path) -> None:
    job = planned(tmp_path)
    another_base(tmp_path)
    outcome = run_job(job, Materials(job.cache, Reporter()), Reporter())
    assert outcome.state == "done", outcome.reason
    now = stage_keys(job.config)
    assert now.train != job.keys.train
    assert RunFolder(job.folder).is_done("train", now.train)
    found = identity_in(job.folder.parent)
    assert found is not None
    assert found.same_results(Identity.of(job.config))


def test_an_arm_with_results_of_the_earlier_weights_fails_and_keeps_them(tmp_path: Path) -> None:
    job = planned(tmp_path)
    run_job(job, Materials(job.cache, Reporter()), Reporter())
    another_base(tmp_path)
    beside = replace(job, folder=job.folder.with_name("seed1"), config=replace(job.config, seed=1))
    beside = replace(beside, keys=replace(stage_keys(beside.config), inputs=job.keys.inputs))
    outcome = run_job(beside, Materials(job.cache, Reporter()), Reporter())
    assert outcome.state == "failed"
    assert "InputsChanged" in outcome.reason
    assert RunFolder(job.folder).is_done("train", job.keys.train)
