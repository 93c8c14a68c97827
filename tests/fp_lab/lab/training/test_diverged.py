"""Trainings that diverge: they stop at the step that is not finite, fail, and are never ranked."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from lightning import Trainer
from torch import Tensor

from fixtures import tiny_config
from fp_lab.checks.finite import NotFinite
from fp_lab.codecs.tiny import Codec
from fp_lab.flow.loss_bins import LossBins
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import grid_jobs
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model
from fp_lab.lab.results.gather import gather
from fp_lab.lab.runs.run_job import run_job
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.sampling.evaluation_videos import sample
from fp_lab.lab.training.callbacks import StepTable
from fp_lab.lab.training.trainer import steps_taken
from fp_lab.training.framepack_system import FramePackSystem

GRID = """\
name: nan
base: tiny
common: {training.checkpoint_every: 2, track.every: 2, track.score: false}
arms:
  - {recipe: td_f2k2f1k1_g3, optimizer.learning_rate: 1.0e+38}
"""


def test_an_arm_that_diverges_fails_at_its_step_and_is_never_ranked(folder: Path) -> None:
    (folder / "nan.yaml").write_text(GRID)
    (job,) = grid_jobs(load_grid(folder / "nan.yaml"), folder / "runs")
    outcome = run_job(job, Materials(folder / "cache", Reporter()), Reporter())
    assert (outcome.state, outcome.stages) == ("failed", ())
    assert "step 2: loss nan" in outcome.reason
    place = RunFolder(job.folder)
    assert place.failure(job.key) == outcome.reason
    assert "step 2" in place.error.read_text()
    kept = (".safetensors", ".ckpt", ".parquet")
    left = {path.name for path in place.path.rglob("*") if path.suffix in kept}
    assert left == set(), "no weights, no checkpoint, no samples, no table"
    with pytest.raises(ValueError, match=r"\bscored .*/nan;"):
        gather([folder / "runs" / "nan"])


@pytest.mark.parametrize(("here", "there"), [(0.5, float("nan")), (float("inf"), 0.5)])
def test_all_ranks_stop_at_the_step_of_the_one_that_diverges(here: float, there: float) -> None:
    """Figures are summed over ranks, and what is not finite stays so: each rank sees the same."""

    class Hearing(Reporter):
        def trained(self, step: Step) -> None:
            raise AssertionError("a step that is not finite was told")

    class Two:
        def reduce(self, figures: Tensor, reduce_op: str) -> Tensor:
            other = figures.clone()
            other[0] = there
            return figures + other

    system = FramePackSystem.__new__(FramePackSystem)
    torch.nn.Module.__init__(system)
    system.gradient_norm, system.loss_bins = torch.tensor(1.0), LossBins(torch.zeros(4), torch.zeros(4))
    trainer = Mock(spec=Trainer, world_size=2, global_step=5, strategy=Two())
    with pytest.raises(NotFinite, match=r"step 5: loss (nan|inf), "):
        StepTable(Hearing(), 1.0).on_train_batch_end(trainer, system, {"loss": torch.tensor(here)}, None, 4)


@pytest.mark.parametrize(("value", "key"), [(float("nan"), "key"), (1.0, "another key")])
def test_a_checkpoint_of_no_use_is_named_and_set_aside(tmp_path: Path, value: float, key: str) -> None:
    path, reporter = tmp_path / "last.ckpt", Mock(Reporter)
    state = {"fp_lab_key": "key", "global_step": 4, "state_dict": {"a": torch.tensor([1.0])}}
    torch.save(state, path)
    assert steps_taken(path, "key", reporter) == 4
    reporter.say.assert_not_called()
    torch.save(state | {"state_dict": {"a": torch.tensor([1.0, value])}}, path)
    content = path.read_bytes()
    assert steps_taken(path, key, reporter) == 0
    ((line,), _) = reporter.say.call_args
    assert str(path) in line
    assert (tmp_path / "last.ckpt.damaged").read_bytes() == content
    assert not path.exists()


def test_frames_that_are_not_finite_fail_the_samples_with_their_section(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny_config(folder), recipe="f1k1_x_g3_f1k1f2k2_td")
    place = RunFolder(tmp_path / "arm" / "seed0")
    materials = Materials(folder / "cache", Reporter())
    build_model(config, materials.codec(config).channels).save(place.model)
    whole = Codec.decode

    def decode(codec: Codec, latents: Tensor, *, clamp: bool = True) -> Tensor:
        pixels = whole(codec, latents, clamp=clamp)
        pixels[:, :, 5] = float("inf")
        return pixels

    materials.evaluation(config)
    monkeypatch.setattr(Codec, "decode", decode)
    with pytest.raises(NotFinite, match=r"section 2: decoded .*\b5\b"):  # sections are 7-9, 4-6, 1-3
        sample(place, config, materials, Reporter())
    assert not list(place.path.rglob("own*"))
