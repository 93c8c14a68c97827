"""Two processes that train together, over gloo on the CPU."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fixtures import tiny_config
from fp_data.latents import LatentBatches
from fp_lab.lab.checkpoints.during_training import train_tracked
from fp_lab.lab.config import ExperimentConfig, TrackConfig, TrainingConfig, load, to_yaml
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.training.checkpoints import checkpoints
from fp_lab.lab.training.ranks import RanksFailed, launch_command, main
from fp_lab.training.framepack_system import step_generator
from fp_lab.weights.files import file_sha256


class Listening(Reporter):
    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.steps: list[Step] = []
        self.begun: list[tuple[str, int]] = []

    def begin(self, stage: str, total: int) -> None:
        self.begun.append((stage, total))

    def trained(self, step: Step) -> None:
        if step.step == self.stop_after:
            raise RuntimeError("killed")
        self.steps.append(step)


@pytest.fixture(scope="module")
def config(folder: Path) -> ExperimentConfig:
    """Batches of 4 over 2 ranks; the average of a single step is its weights."""
    settings = ["steps=4", "batch=4", "devices=2", "ema=0.5", "checkpoint_every=2"]
    return tiny_config(folder, [f"training.{setting}" for setting in settings])


@pytest.fixture(scope="module")
def listening() -> Listening:
    return Listening()


@pytest.fixture(scope="module")
def whole(folder: Path, config: ExperimentConfig, materials: Materials, listening: Listening) -> RunFolder:
    """A training of two ranks that nothing interrupted, tracked at every step."""
    tracked = replace(config, track=TrackConfig(every=1, score=False))
    place = new_run(folder / "grid" / "arm" / "seed0", tracked)
    train_tracked(place, tracked, "key", materials, listening)
    return place


def new_run(path: Path, config: ExperimentConfig) -> RunFolder:
    place = RunFolder(path)
    place.path.mkdir(parents=True)
    place.config.write_text(to_yaml(config))
    return place


def weights(place: RunFolder) -> str:
    return file_sha256(place.model / "model.safetensors")


def losses(place: RunFolder) -> pd.DataFrame:
    return pd.read_parquet(place.loss).drop(columns=["step_seconds", "tokens_per_second"])


def test_a_step_is_that_of_the_mean_gradient_of_the_halves(
    config: ExperimentConfig, materials: Materials, whole: RunFolder
) -> None:
    videos = materials.training(config)
    system = build_system(config, build_model(config, materials.codec(config).channels))
    parts = [LatentBatches(videos, 4, config.seed, rank=rank, ranks=2).batch(0) for rank in range(2)]
    assert set(parts[0]["seeds"]).isdisjoint(parts[1]["seeds"])
    draws = [step_generator(config.seed, rank, 0) for rank in range(2)]
    losses_of_ranks = [system.section_loss(p, d) for p, d in zip(parts, draws, strict=True)]  # type: ignore[arg-type]
    loss = torch.stack(losses_of_ranks).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(system.parameters(), config.training.gradient_clip)
    configured = system.configure_optimizers()
    configured["optimizer"].step()  # type: ignore[index, typeddict-item]
    saved = load_file(checkpoints(whole)[0].model / "model.safetensors")
    for name, value in system.model.state_dict().items():
        torch.testing.assert_close(value, saved[name], rtol=1e-4, atol=1e-6, msg=name)
    first = losses(whole).iloc[0]
    assert first["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert first["gradient_norm"] == pytest.approx(norm.item(), rel=1e-4)


def test_the_one_who_waits_hears_of_everything(whole: RunFolder, listening: Listening) -> None:
    assert ("train", 4) in listening.begun
    assert [step.step for step in listening.steps] == [1, 2, 3, 4]
    assert [step.loss for step in listening.steps] == losses(whole)["loss"].tolist()
    assert [checkpoint.step for checkpoint in checkpoints(whole)] == [1, 2, 3, 4]
    assert weights(checkpoints(whole)[-1]) == weights(whole)
    assert whole.efficiency.is_file()


@pytest.fixture(scope="module")
def stopped(folder: Path, config: ExperimentConfig, whole: RunFolder) -> tuple[RunFolder, RunFolder]:
    """The same training stopped once and continued, with whole models and with sharded ones."""
    sharded = replace(config, training=replace(config.training, strategy="fsdp"))
    places = new_run(folder / "stopped", config), new_run(folder / "sharded", sharded)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += [str(Path(__file__).with_name("rank_of_a_test.py")), str(folder / "cache")]
    command += [str(place.path) for place in places]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return places


def test_a_stopped_training_continues_to_the_same_bits_on_every_rank(
    whole: RunFolder, stopped: tuple[RunFolder, RunFolder]
) -> None:
    place, _ = stopped
    assert torch.load(place.path / "stopped.ckpt", weights_only=True)["global_step"] == 2
    assert weights(place) == weights(whole)
    pd.testing.assert_frame_equal(losses(place), losses(whole), check_exact=True)
    left = {path.name: path.read_text() for path in place.path.glob("model-of-rank-*")}
    assert len(left) == 2
    assert len(set(left.values())) == 1


def test_a_sharded_training_is_the_same_training(
    whole: RunFolder, stopped: tuple[RunFolder, RunFolder]
) -> None:
    """Weights, moments and average are dealt out, saved and dealt out again: the figures stay."""
    _, place = stopped
    stored = torch.load(place.path / "stopped.ckpt", weights_only=True)
    assert stored["global_step"] == 2
    after_two = load_file(checkpoints(whole)[1].model / "model.safetensors")
    for name, value in after_two.items():
        saved = stored["fp_lab_average"][f"model.{name}"]
        torch.testing.assert_close(saved, value, rtol=1e-3, atol=1e-5, msg=name)
    pd.testing.assert_frame_equal(losses(place), losses(whole), rtol=1e-3)
    one, other = (load_file(run.model / "model.safetensors") for run in (place, whole))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=name)


def launching(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a short program in the place of the launcher."""
    command = [sys.executable, "-c", program]
    monkeypatch.setattr("fp_lab.lab.training.ranks.launch_command", lambda *arguments: command)


def test_a_failure_of_a_rank_is_raised_with_its_traceback(
    folder: Path, config: ExperimentConfig, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(config, model=replace(config.model, base=str(folder / "nowhere")))
    place = new_run(folder / "broken", broken)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match=f"base .*{folder.name}/nowhere"):
        main(str(place.path), str(folder / "cache"), "key")
    left = (place.path / "train" / "ranks" / "rank1.txt").read_text()
    assert "in fit" in left
    program = (
        f"import pathlib; pathlib.Path({str(place.path)!r}, 'train/ranks/rank1.txt').write_text({left!r})"
    )
    launching(f"{program}; print('a library says hello'); raise SystemExit(1)", monkeypatch)
    with pytest.raises(RanksFailed, match=r"^rank1 .*ValueError: .*\bbase\b") as failure:
        train_tracked(place, config, "key", materials, Reporter())
    assert f"{folder}/nowhere" in str(failure.value)


def test_a_failure_of_the_launcher_is_raised_with_the_end_of_its_log(
    folder: Path, config: ExperimentConfig, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    launching("raise SystemExit('no free port')", monkeypatch)
    with pytest.raises(RanksFailed, match="no free port"):
        train_tracked(new_run(folder / "portless", config), config, "key", materials, Reporter())


def test_ranks_end_with_the_one_who_waits(
    folder: Path, config: ExperimentConfig, materials: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = folder / "pid"
    step = json.dumps(["trained", asdict(Step(3, 1.0, 0.1, 0.1))])
    program = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid()))"
    launching(f"{program}; print({step!r}, flush=True); time.sleep(600)", monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        train_tracked(new_run(folder / "waiting", config), config, "key", materials, Listening(stop_after=3))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_on_one_machine_the_launcher_is_enough(tmp_path: Path) -> None:
    command = launch_command(TrainingConfig(batch=4, devices=4), tmp_path, tmp_path / "cache", "key", {})
    assert command[1:5] == ["-m", "torch.distributed.run", "--nproc-per-node", "4"]
    assert command[-5:] == ["-m", "fp_lab.lab.training.ranks", str(tmp_path), str(tmp_path / "cache"), "key"]


def test_on_several_machines_the_nodes_of_the_job_are_used(tmp_path: Path) -> None:
    training = TrainingConfig(batch=16, devices=8, nodes=2)
    job = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": "2", "SLURMD_NODENAME": "node1"}
    command = launch_command(training, tmp_path, tmp_path, "key", job)
    assert command[:4] == ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1"]
    line = " ".join(command)
    assert "--nnodes 2" in line
    assert "--nproc-per-node 8" in line
    assert "--rdzv-endpoint node1:20017 --rdzv-id 17" in line
    with pytest.raises(ValueError, match=r"training\.nodes: got 2 .*\bno SLURM\b"):
        launch_command(training, tmp_path, tmp_path, "key", {})
    with pytest.raises(ValueError, match=r"training\.nodes: got 2 .*\bSLURM .*\b1 nodes"):
        launch_command(training, tmp_path, tmp_path, "key", job | {"SLURM_JOB_NUM_NODES": "1"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["training.devices=3"],
            r"training\.batch: got 2, expected .*training\.devices x training\.nodes \(3\)",
        ),
        (["training.devices=0"], "training.devices: got 0"),
        (["track.every=-1"], "track.every: got -1"),
        (["track.keep=0"], "track.keep: got 0"),
        (["track.videos=3"], r"track\.videos: got 3, expected .*evaluation\.videos"),
    ],
)
def test_settings_without_meaning_are_refused(folder: Path, settings: list[str], message: str) -> None:
    tiny_config(folder)  # whichever test comes first
    with pytest.raises(ValueError, match=message):
        load(folder / "tiny.yaml", settings)
