"""What MLflow shows of a run, read from its folder."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from rich.console import Console
from safetensors.numpy import save_file

import fp_lab
from fp_lab.lab.checkpoints.afterwards import find_runs, track
from fp_lab.lab.checkpoints.log_to_mlflow import send
from fp_lab.lab.config import load
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.grid import load_single
from fp_lab.lab.grids.run_grid import run_grid
from fp_lab.lab.provenance.inputs import read_inputs
from fp_lab.lab.provenance.record import provenance
from fp_lab.lab.provenance.stage_keys import STAGE_VERSIONS
from fp_lab.lab.runs.measure_finished import measure_finished
from fp_lab.lab.runtime.progress import CheckpointProgress
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.tracking import CHECKPOINTS_TAG, WITHOUT_ROLLOUT_TAG, Tracker
from fp_lab.lab.tracking.log_run import checkpoints_of, mirror, steps_of, tags_of, weights_tags
from fp_lab.lab.training.checkpoints import checkpoints, tracked_path
from fp_lab.weights.files import file_sha256

STEPS = 4


@pytest.fixture(scope="module")
def place(folder: Path) -> RunFolder:
    """A run that is done, with checkpoints that were tracked."""
    experiment = load_single(folder / "tiny.yaml", ["track.every=2"])
    result = run_grid(experiment, folder / "runs", Console(quiet=True), command="test")
    assert result.failed == {}
    return RunFolder(result.folder / experiment.arms[0].folder)


def test_everything_in_the_folder_is_shown_once(place: RunFolder, tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    run = tracker.arm(tracker.grid("grid", tmp_path), "arm", "key", {}, place.path)
    mirror(place, run, "results")
    mirror(place, run, "results")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    stored = client.get_run(run.opened())
    table = pd.read_parquet(place.loss)
    for column in ("loss", "gradient_norm", "learning_rate", "step_seconds", "tokens_per_second"):
        history = {m.step: m.value for m in client.get_metric_history(run.opened(), f"train/{column}")}
        assert history == dict(zip(table["step"], table[column], strict=True))
    drift = client.get_metric_history(run.opened(), "track/plain/clarity")
    assert sorted(m.step for m in drift) == [2, STEPS]
    summary = json.loads(place.summary.read_text())
    (clarity,) = [e for e in summary["estimators"].values() if e["score"] == "clarity"]
    assert stored.data.metrics["plain/clarity"] == clarity["own"]["value"]["mean"]
    codec = Path(_config(place).codec.source) / "model.safetensors"
    assert stored.data.tags["weights.codec"] == file_sha256(codec)
    assert {"machine", "torch", "data", "protocol"} <= set(stored.data.tags)
    artifacts = {item.path for item in client.list_artifacts(run.opened())}
    assert {"config.yaml", "provenance.json", "samples", "scores", "checkpoints"} <= artifacts
    kept = {item.path for item in client.list_artifacts(run.opened(), "checkpoints")}
    assert kept == {"checkpoints/step00000002", "checkpoints/step00000004"}
    assert stored.data.tags["weights.model"] == file_sha256(place.model / "model.safetensors")


def _config(place: RunFolder):  # type: ignore[no-untyped-def]
    return load(place.config)


def test_a_codebook_is_known_by_its_centroids(tmp_path: Path) -> None:
    centroids = np.arange(6, dtype=np.float32).reshape(3, 2)
    save_file({"backbone.x": centroids, "codebook.centroids": centroids}, tmp_path / "one.safetensors")
    save_file({"codebook.centroids": centroids + 1}, tmp_path / "other.safetensors")
    save_file({"backbone.x": centroids}, tmp_path / "without.safetensors")
    one, other, without = (weights_tags(tmp_path / f"{n}.safetensors") for n in ("one", "other", "without"))
    assert one["codebook"] == hashlib.sha256(centroids.tobytes()).hexdigest()
    assert other["codebook"] != one["codebook"]
    assert "codebook" not in without


def test_steps_leave_out_what_is_undefined(tmp_path: Path) -> None:
    path = tmp_path / "loss.parquet"
    pd.DataFrame({"step": [1, 2], "loss": [0.5, 0.25], "bin": [float("nan"), 1.0]}).to_parquet(path)
    assert steps_of(path) == {1: {"loss": 0.5}, 2: {"loss": 0.25, "bin": 1.0}}
    assert checkpoints_of(tmp_path / "nothing.parquet") == {}


def test_the_commit_and_changes_are_those_of_git(place: RunFolder) -> None:
    config = _config(place)
    made_with = provenance(config, "train", read_inputs(config))
    root = Path(fp_lab.__file__).parents[1]
    if not (root / ".git").exists():
        assert made_with["git"] is None
        return
    head = subprocess.check_output(["git", "-C", str(root), "rev-parse", "HEAD"], text=True).strip()
    assert made_with["git"]["commit"] == head
    assert tags_of({"train": made_with})["mlflow.source.git.commit"] == head


def test_a_stage_says_what_it_was_made_with(place: RunFolder) -> None:
    told = json.loads(place.provenance.read_text())
    assert list(told) == ["train", "sample", "score"]
    assert [stage["version"] for stage in told.values()] == [STAGE_VERSIONS[stage] for stage in told]
    assert told["score"]["protocol"]
    assert "protocol" not in told["train"]
    assert told["train"]["environment"]["versions"]["torch"]


def test_checkpoints_that_are_scored_later_are_sent_by_tracking_and_by_the_grid(folder: Path) -> None:
    """What MLflow has heard of a run before its checkpoints were scored does not keep them from it."""
    overrides = ["track.every=2", "track.score=false", "track.videos=1"]

    def call() -> None:
        result = run_grid(
            load_single(folder / "tiny.yaml", overrides),
            folder / "later",
            Console(quiet=True),
            command="test",
        )
        assert result.failed == {}

    def told(name: str) -> dict[int, float]:
        return {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}

    call()
    client = MlflowClient(f"sqlite:///{folder / 'later' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'fp_lab'")
    (run,) = [
        run for run in client.search_runs([experiment.experiment_id]) if "seed" in str(run.info.run_name)
    ]
    assert told("track/plain/clarity.drift") == {}
    found = find_runs([folder / "later"])
    said: list[str] = []
    tracked = track(found, CheckpointProgress(Console(quiet=True)))
    send([one.run for one in tracked.runs], said.append)
    assert said == []
    drift = told("track/plain/clarity.drift")
    assert sorted(drift) == [2, STEPS]
    table = pd.read_parquet(found[0].path / "tracked.parquet")
    rows = table[table["score"] == "clarity"].set_index("step")
    assert drift == {int(step): pytest.approx(value) for step, value in rows["drift"].items()}
    assert client.get_run(run.info.run_id).info.status == "FINISHED"
    client.set_tag(run.info.run_id, CHECKPOINTS_TAG, "lost")
    call()
    assert len(client.get_metric_history(run.info.run_id, "track/plain/clarity.drift")) == 4, "sent again"
    call()
    assert len(client.get_metric_history(run.info.run_id, "track/plain/clarity.drift")) == 4, "and only once"


def test_measures_of_runs_and_checkpoints_that_come_later_are_sent(folder: Path) -> None:
    result = run_grid(
        load_single(folder / "tiny.yaml", ["track.every=2"]),
        folder / "before",
        Console(quiet=True),
        command="test",
    )
    (run,) = (RunFolder(config.parent) for config in result.folder.rglob("config.yaml"))
    client = MlflowClient(f"sqlite:///{folder / 'before' / 'mlflow.db'}")
    known = Tracker(folder / "before").known(run.path)
    assert known is not None
    table = pd.read_parquet(tracked_path(run))
    places = (run, *checkpoints(run))
    for one in places:  # as before there were any
        shutil.rmtree(one.without_rollout)
        one.done_file("without_rollout").unlink()
    table[table["family"] == "plain"].to_parquet(tracked_path(run))
    for tag in (WITHOUT_ROLLOUT_TAG, CHECKPOINTS_TAG):
        client.set_tag(known.opened(), tag, "lost")
    measured = measure_finished([result.folder], Reporter())
    assert measured == {run: places}
    pd.testing.assert_frame_equal(pd.read_parquet(tracked_path(run)), table)
    said: list[str] = []
    send(list(measured), said.append)
    send(list(measured), said.append)
    assert said == []
    for name, count in (("influence/f2k2", 1), ("step_error/section", 1), ("track/influence/f2k2", 2)):
        sent = [(m.step, m.value) for m in client.get_metric_history(known.opened(), name)]
        assert len(sent) == 2 * count, "by the grid, and once more"
        assert len(set(sent)) == count
    assert measure_finished([result.folder], Reporter()) == {}
