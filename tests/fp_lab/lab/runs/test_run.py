"""A run's stages: the same bits whatever interrupts them, and nothing is done twice."""

import shutil
from dataclasses import replace
from pathlib import Path
from unittest.mock import create_autospec

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fixtures import tiny_config
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.video_batch import Videos
from fp_lab.lab.files.without_rollout import read_rows, steps_file
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runs.measure_finished import measure_finished
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.sampling import evaluation_videos
from fp_lab.lab.scoring.noise_floor import prepare_truth
from fp_lab.lab.scoring.without_rollout import summarise_without_rollout
from fp_lab.sampling.rollout import rollout
from fp_lab.weights.files import file_sha256


class Interrupting(Reporter):
    """Stops after a training step, as a kill would; checkpoints are on disk by then."""

    def __init__(self, after: int) -> None:
        self.after = after

    def trained(self, step: Step) -> None:
        if step.step == self.after:
            raise RuntimeError("killed")


class Recording(Reporter):
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.steps: list[int] = []

    def begin(self, stage: str, total: int) -> None:
        self.begun.append(stage)

    def trained(self, step: Step) -> None:
        self.steps.append(step.step)


@pytest.fixture(scope="module")
def whole(folder: Path, config: ExperimentConfig, materials: Materials) -> RunFolder:
    """A run that nothing interrupted."""
    place = folder / "runs" / "arm" / "seed0"
    prepare_truth(folder / "runs" / "truth", config, materials, Reporter())
    assert run(place, config, materials, Reporter()) == ["train", "sample", "score"]
    return RunFolder(place)


def weights(place: RunFolder) -> str:
    return file_sha256(place.model / "model.safetensors")


def losses(place: RunFolder) -> list[float]:
    return list(pd.read_parquet(place.loss)["loss"])


def test_a_killed_training_continues_to_the_same_bits(
    tmp_path: Path, config: ExperimentConfig, materials: Materials, whole: RunFolder
) -> None:
    place = RunFolder(tmp_path / "arm")
    with pytest.raises(RuntimeError, match="killed"):
        run(place.path, config, materials, Interrupting(after=3), stages=("train",))
    assert place.checkpoint.is_file()
    assert not place.done_file("train").is_file()
    recording = Recording()
    run(place.path, config, materials, recording, stages=("train",))
    assert recording.steps == [3, 4]
    assert weights(place) == weights(whole)
    assert losses(place) == losses(whole)
    assert not place.checkpoint.exists()


def test_a_checkpoint_of_other_settings_is_not_continued(
    tmp_path: Path, config: ExperimentConfig, materials: Materials, whole: RunFolder
) -> None:
    place = RunFolder(tmp_path / "arm")
    other = replace(config, optimizer=replace(config.optimizer, learning_rate=0.5))
    with pytest.raises(RuntimeError, match="killed"):
        run(place.path, other, materials, Interrupting(after=3), stages=("train",))
    run(place.path, config, materials, Reporter(), stages=("train",))
    assert weights(place) == weights(whole)


def test_another_seed_gives_another_model(
    tmp_path: Path, config: ExperimentConfig, materials: Materials, whole: RunFolder
) -> None:
    place = RunFolder(tmp_path / "arm")
    run(place.path, replace(config, seed=1), materials, Reporter(), stages=("train",))
    assert weights(place) != weights(whole)


def test_training_moves_the_weights_away_from_the_base(folder: Path, whole: RunFolder) -> None:
    base, trained = (
        load_file(folder / "base" / "model.safetensors"),
        load_file(whole.model / "model.safetensors"),
    )
    assert not base["backbone.final.weight"].equal(trained["backbone.final.weight"])


def test_samples_hold_what_the_contract_says(whole: RunFolder, config: ExperimentConfig) -> None:
    own, true = (Videos.load(whole.samples / f"{history}.safetensors") for history in ("own", "true"))
    assert tuple(own.frames.shape) == (2, 10, 32, 32, 3)
    assert own.seeds == (0, 1)
    assert own.order == (-1, 0, 0, 0, 1, 1, 1, 2, 2, 2)
    assert own.captions == true.captions
    assert own.frames[:, :4].equal(true.frames[:, :4])  # the first section sees the same history
    assert not own.frames[:, 4:].equal(true.frames[:, 4:])
    assert {path.name for path in whole.samples.glob("*.mp4")} == {"own-00.mp4", "true-00.mp4"}


def test_shuffled_history_is_that_of_the_next_video(
    tmp_path: Path,
    config: ExperimentConfig,
    materials: Materials,
    whole: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = RunFolder(shutil.copytree(whole.path, tmp_path / "arm"))
    shuffled = replace(config, evaluation=replace(config.evaluation, shuffled=True))
    spied = create_autospec(rollout, side_effect=rollout)
    monkeypatch.setattr(evaluation_videos, "rollout", spied)
    assert run(place.path, shuffled, materials, Reporter(), stages=("sample",)) == ["sample"]
    own, true = (call.kwargs["history"] for call in spied.call_args_list)
    given = spied.call_args_list[0].args[2]
    assert own is None
    assert true[:, :, :1].equal(given.flip(0)), "of two videos the next one is the other"
    same, other = (Videos.load(place.samples / f"{history}.safetensors") for history in ("own", "true"))
    before = [Videos.load(whole.samples / f"{history}.safetensors") for history in ("own", "true")]
    assert same.frames.equal(before[0].frames)
    assert not other.frames.equal(before[1].frames)
    with pytest.raises(ValueError, match=r"evaluation\.shuffled: got one\b"):
        replace(shuffled.evaluation, videos=1)


def test_measures_without_rollout_are_stored_and_summarised(whole: RunFolder) -> None:
    rows = read_rows(steps_file(whole))
    errors = rows[rows["measure"].str.endswith("_error")].pivot_table(
        index="measure", columns=["video", "place"], values="value"
    )
    assert (errors > 0).all(axis=None)
    own, true = errors.loc["rollout_error"], errors.loc["section_error"]
    first = own.index.get_level_values("place") == 0
    assert own[first].tolist() == true[first].tolist(), "the first section sees the same history"
    assert (own[~first] != true[~first]).all()
    summary = summarise_without_rollout(rows)
    assert summary["step_error/section"]["mean"] == pytest.approx(true.sum() / 2)
    levels = rows[rows["measure"] == "influence"].groupby("of")["value"].mean()
    assert {name: summary[f"influence/{name}"]["mean"] for name in levels.index} == pytest.approx(
        dict(levels)
    )


def test_a_run_from_before_is_measured_and_nothing_of_it_is_done_again(
    whole: RunFolder, tmp_path: Path
) -> None:
    place = RunFolder(shutil.copytree(whole.path, tmp_path / "grid" / "arm" / "seed0"))
    before = read_rows(steps_file(place))
    assert measure_finished([tmp_path], Reporter()) == {}
    shutil.rmtree(place.without_rollout)
    place.done_file("without_rollout").unlink()
    kept = {file: file.stat().st_mtime_ns for file in place.path.rglob("*") if file.is_file()}
    assert measure_finished([tmp_path], Reporter()) == {place: (place,)}
    pd.testing.assert_frame_equal(read_rows(steps_file(place)), before)
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_another_number_of_videos_measures_a_whole_run_again_and_nothing_else(
    whole: RunFolder, config: ExperimentConfig, materials: Materials, tmp_path: Path
) -> None:
    place = RunFolder(shutil.copytree(whole.path, tmp_path / "grid" / "arm" / "seed0"))
    kept = {file: file.stat().st_mtime_ns for file in place.samples.rglob("*") if file.is_file()}
    one = replace(config, evaluation=replace(config.evaluation, without_rollout=1))
    assert run(place.path, one, materials, Reporter()) == []
    rows = read_rows(steps_file(place))
    assert set(rows.loc[rows["measure"] == "velocity_error", "video"]) == {0}
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_costs_are_recorded(whole: RunFolder) -> None:
    costs = pd.read_json(whole.efficiency, typ="series")
    expected = {
        "step_seconds",
        "tokens_per_second",
        "first_section_seconds",
        "frames_per_second",
        "training_tflop",
        "threads",
        "machine_load",
    } | ({"peak_memory_mib"} if torch.cuda.is_available() else set())
    assert set(costs.index) == expected
    assert (costs > 0).all()
    table = pd.read_parquet(whole.loss)
    assert {"step", "loss", "learning_rate", "step_seconds"} <= set(table.columns)
    assert list(table["step"]) == [1, 2, 3, 4]


def test_nothing_is_done_twice(whole: RunFolder, config: ExperimentConfig, materials: Materials) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.path.rglob("*") if path.name != "config.yaml"}
    recording = Recording()
    assert run(whole.path, config, materials, recording) == []
    assert recording.begun == []
    after = {path: path.stat().st_mtime_ns for path in whole.path.rglob("*") if path.name != "config.yaml"}
    folders = {path for path in before if path.is_dir()}
    assert {p: t for p, t in before.items() if p not in folders} == {
        p: t for p, t in after.items() if p not in folders
    }


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("training.steps=5", {"train", "sample", "score"}),
        ("data.world.variant=camera", {"train", "sample", "score", "truth"}),
        ("sampling.fill=bisect", {"train", "sample", "score"}),
        ("sampling.solver.steps=3", {"sample", "score"}),
        ("evaluation.videos=3", {"sample", "score", "truth"}),
        ("evaluation.families=[plain,world]", {"score", "truth"}),
        ("training.checkpoint_every=1", set()),
        ("evaluation.without_rollout=3", set()),
        ("data.clips.frames=5", set()),
    ],
)
def test_a_stage_depends_on_no_more_than_it_must(folder: Path, override: str, changed: set[str]) -> None:
    one, other = stage_keys(tiny_config(folder)), stage_keys(tiny_config(folder, [override]))
    assert {
        stage
        for stage in ("train", "sample", "score", "truth")
        if getattr(one, stage) != getattr(other, stage)
    } == changed


def test_other_weights_of_the_codec_make_other_keys(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    before = stage_keys(config)
    file = tmp_path / "codec" / "model.safetensors"
    file.write_bytes(file.read_bytes() + b" ")
    assert stage_keys(config).train != before.train


def test_a_missing_base_says_what_to_do(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, [f"model.base={tmp_path}/nowhere"])
    with pytest.raises(ValueError, match="fp-lab pretrain"):
        stage_keys(config)
