"""Checkpoints of a training that is tracked: saved, scored and pruned, and the training stays the same."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fixtures import tiny_config
from fp_lab.lab.checkpoints.during_training import train_tracked, undisturbed
from fp_lab.lab.checkpoints.rows import COLUMNS, tracked_path
from fp_lab.lab.config import ExperimentConfig, TrackConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.sampling.evaluation_videos import sample
from fp_lab.lab.scoring.noise_floor import prepare_truth
from fp_lab.lab.training.checkpoints import checkpoints, prune
from fp_lab.weights.files import file_sha256


class Listening(Reporter):
    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.begun: list[str] = []
        self.said: list[str] = []

    def begin(self, stage: str, total: int) -> None:
        self.begun.append(stage)

    def trained(self, step: Step) -> None:
        if step.step == self.stop_after:
            raise RuntimeError("killed")

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.fixture(scope="module")
def plain(folder: Path) -> ExperimentConfig:
    return tiny_config(folder, ["training.steps=5", "training.checkpoint_every=1"])


@pytest.fixture(scope="module")
def untracked(folder: Path, plain: ExperimentConfig, materials: Materials) -> RunFolder:
    place = RunFolder(folder / "plain" / "seed0")
    train_tracked(place, plain, "key", materials, Reporter())
    return place


@pytest.fixture(scope="module")
def tracked(folder: Path, plain: ExperimentConfig, materials: Materials) -> RunFolder:
    """Scored every 2 steps, in a grid whose ground truth is scored."""
    place = RunFolder(folder / "grid" / "arm" / "seed0")
    prepare_truth(folder / "grid" / "truth", plain, materials, Reporter())
    train_tracked(place, tracking(plain), "key", materials, Reporter())
    return place


def tracking(config: ExperimentConfig, every: int = 2, **options: object) -> ExperimentConfig:
    return replace(config, track=TrackConfig(every, **options))  # type: ignore[arg-type]


def steps(place: RunFolder) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints(place)]


def weights(place: RunFolder) -> str:
    return file_sha256(place.model / "model.safetensors")


def test_tracking_does_not_change_the_training(untracked: RunFolder, tracked: RunFolder) -> None:
    assert weights(tracked) == weights(untracked)
    timed = ["step_seconds", "tokens_per_second"]
    one, other = (pd.read_parquet(place.loss).drop(columns=timed) for place in (tracked, untracked))
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert not checkpoints(untracked)


def test_the_averaged_weights_are_saved_at_every_second_step_and_the_last(
    plain: ExperimentConfig, materials: Materials, tracked: RunFolder, tmp_path: Path
) -> None:
    assert steps(tracked) == [2, 4, 5]
    assert weights(checkpoints(tracked)[-1]) == weights(tracked)
    shorter = RunFolder(
        tmp_path / "shorter"
    )  # stopped at step 2 of the same schedule, its average is step 2's
    with pytest.raises(RuntimeError, match="killed"):
        train_tracked(shorter, plain, "key", materials, Listening(stop_after=3))
    stored = torch.load(shorter.checkpoint, weights_only=True)
    assert stored["global_step"] == 2
    saved = load_file(checkpoints(tracked)[0].model / "model.safetensors")
    assert all(torch.equal(stored["state_dict"][f"model.{name}"], value) for name, value in saved.items())


def test_the_scores_of_the_last_checkpoint_are_those_of_the_run(
    plain: ExperimentConfig, materials: Materials, tracked: RunFolder
) -> None:
    sample(tracked, plain, materials, Reporter())
    for history in ("own", "true"):
        one, other = (
            place.samples / f"{history}.safetensors" for place in (tracked, checkpoints(tracked)[-1])
        )
        assert one.read_bytes() == other.read_bytes()


def test_the_table_has_every_figure_of_every_step(tracked: RunFolder) -> None:
    table = pd.read_parquet(tracked_path(tracked))
    assert tuple(table.columns) == COLUMNS
    assert set(table["step"]) == {2, 4, 5}
    for checkpoint in checkpoints(tracked):
        summary = json.loads(checkpoint.summary.read_text())
        rows = table[table["step"] == checkpoint.step].set_index("estimator")
        more = {name.partition("/")[0] for name in set(rows.index) - set(summary["estimators"])}
        assert more == {"influence", "influence_noise", "step_error"}
        assert set(rows.index) >= set(summary["estimators"])
        for name, told in summary["estimators"].items():
            drift = told["own"]["drift"]
            wanted = {
                "value": told["own"]["value"]["mean"],
                "drift": drift["mean_absolute"]["mean"],
                "drift_high": drift["mean_absolute"]["high"],
                "drift_signed": drift["signed"]["mean"],
                "drift_floor": drift["noise_floor"],
                "gap": told.get("exposure_gap", {}).get("value", {}).get("mean"),
            }
            found = rows.loc[name]
            for column, value in wanted.items():
                expected = float("nan") if value is None else value
                assert found[column] == pytest.approx(expected, nan_ok=True), (name, column)
    assert table["drift_floor"].notna().any(), "the grid's ground truth was found"
    assert table["model_sha256"].nunique() == 3


def test_nothing_is_felt_of_what_happens_at_a_checkpoint() -> None:
    def states() -> tuple[object, ...]:
        return torch.get_num_threads(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()  # type: ignore[index, union-attr]

    def careless() -> None:
        torch.manual_seed(99)
        np.random.seed(99)
        random.seed(99)
        torch.set_num_threads(torch.get_num_threads() + 1)
        raise RuntimeError("careless")

    before, python = states(), random.getstate()
    with pytest.raises(RuntimeError, match="careless"), undisturbed():
        careless()
    assert random.getstate() == python
    assert states() == before


def test_a_killed_training_scores_no_checkpoint_twice(
    tmp_path: Path, plain: ExperimentConfig, materials: Materials, tracked: RunFolder
) -> None:
    place = RunFolder(tmp_path / "grid" / "arm" / "seed0")
    config = tracking(plain)
    with pytest.raises(RuntimeError, match="killed"):
        train_tracked(place, config, "key", materials, Listening(stop_after=3))
    assert steps(place) == [2]
    place.checkpoint.unlink()  # as if it had been killed before any point to continue from
    again = Listening()
    train_tracked(place, config, "key", materials, again)
    assert again.begun.count("sample") == 2, "step 2 was scored before"
    assert weights(place) == weights(tracked)
    assert [c.sha256 for c in checkpoints(place)] == [c.sha256 for c in checkpoints(tracked)]


def test_checkpoints_of_another_training_go(
    tmp_path: Path, plain: ExperimentConfig, materials: Materials
) -> None:
    place = RunFolder(tmp_path / "arm")
    train_tracked(place, tracking(plain, score=False), "key", materials, Reporter())
    shorter = replace(plain, training=replace(plain.training, steps=2))
    train_tracked(place, tracking(shorter, score=False), "another key", materials, Reporter())
    assert steps(place) == [2]
    assert checkpoints(place)[0].train_key == "another key"


def test_a_failure_of_the_scores_is_no_failure_of_the_training(
    tmp_path: Path,
    plain: ExperimentConfig,
    materials: Materials,
    untracked: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("no such metric")

    monkeypatch.setattr("fp_lab.lab.checkpoints.score.score_run", fail)
    place, listening = RunFolder(tmp_path / "grid" / "arm" / "seed0"), Listening()
    train_tracked(place, tracking(plain, keep=1), "key", materials, listening)
    assert weights(place) == weights(untracked)
    assert len(listening.said) == 3
    assert "no such metric" in listening.said[0]
    assert "fp-lab track" in listening.said[0]
    assert "no such metric" in checkpoints(place)[0].error.read_text()
    assert all(checkpoint.has_weights for checkpoint in checkpoints(place)), (
        "what is not scored is not pruned"
    )


@pytest.mark.parametrize(
    ("keep", "best", "kept"), [(None, (), [2, 4, 5]), (1, (), [5]), (1, (2,), [2, 5]), (2, (5,), [4, 5])]
)
def test_the_newest_and_the_best_keep_their_weights(
    tmp_path: Path, tracked: RunFolder, keep: int | None, best: Sequence[int], kept: list[int]
) -> None:
    place = RunFolder(tmp_path)
    for checkpoint in checkpoints(tracked):
        copy = place.path / checkpoint.path.relative_to(tracked.path)
        for part in (copy / "model", copy / "samples", copy / "scores"):
            part.mkdir(parents=True)
        (copy / "checkpoint.json").write_text(checkpoint.record.read_text())
    prune(place, keep, best)
    assert [c.step for c in checkpoints(place) if c.has_weights] == kept
    assert [c.step for c in checkpoints(place) if c.samples.exists()] == kept
    assert [c.step for c in checkpoints(place) if c.summary.parent.exists()] == [2, 4, 5]


def test_a_best_checkpoint_that_nobody_measures_is_refused_before_the_work(
    tmp_path: Path, plain: ExperimentConfig, materials: Materials
) -> None:
    config = tracking(plain, keep=1, best="world/anatomy.drift")
    with pytest.raises(ValueError, match=r"got 'world/anatomy.drift', expected .* \(plain\)"):
        train_tracked(RunFolder(tmp_path), config, "key", materials, Reporter())
    assert not (tmp_path / "train").exists()
