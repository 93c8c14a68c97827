"""Arms over tiny pipelines in diffusers' format: the same lab, from captions to scores."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from fp_lab.backbones.diffusers.lora import LORA_FILE
from fp_lab.flow.solvers import SolverConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.video_batch import GIVEN, Videos
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.grids.run_grid import run_grid
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.provenance.stage_keys import stage_keys
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.tiny_pipelines import TinyFamily
from fp_lab.model import FramePackModel
from real_arms import FRAMES, SETTINGS, real_config

FAMILIES: tuple[TinyFamily, ...] = ("hunyuan_video", "framepack", "wan", "wan_i2v")


class Killed(Reporter):
    def trained(self, step: Step) -> None:
        if step.step == 3:
            raise RuntimeError("killed")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "fp_lab_cache"
    monkeypatch.setenv("FP_LAB_CACHE", str(folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_arm_is_trained_sampled_and_scored(family: TinyFamily, tmp_path: Path) -> None:
    config = real_config(family, tmp_path)
    materials = Materials(tmp_path / "cache", Reporter())
    place = RunFolder(tmp_path / "runs" / "arm" / "seed0")
    assert run(place.path, config, materials, Reporter()) == ["train", "sample", "score"]
    assert sorted(file.name for file in place.model.iterdir()) == [
        "config.json",
        "model.safetensors",
        LORA_FILE,
    ]
    assert max(
        value.abs().max() for name, value in load_file(place.model / LORA_FILE).items() if "lora_B" in name
    )
    own = Videos.load(place.samples / "own.safetensors")
    assert own.frames.shape == (2, FRAMES, 32, 32, 3)
    assert own.order == (GIVEN,) + 12 * (0,) + 12 * (1,)
    assert own.frames.float().std() > 5
    summary = json.loads(place.summary.read_text())
    assert summary["frames"] == FRAMES
    assert run(place.path, config, materials, Reporter()) == []


@pytest.mark.parametrize("family", ["framepack", "wan"])
def test_a_killed_training_ends_with_the_same_bits(family: TinyFamily, tmp_path: Path) -> None:
    config = real_config(family, tmp_path)
    places = [RunFolder(tmp_path / "runs" / name / "seed0") for name in ("whole", "killed")]
    materials = Materials(tmp_path / "cache", Reporter())
    run(places[0].path, config, materials, Reporter(), stages=("train",))
    with pytest.raises(RuntimeError, match="killed"):
        run(places[1].path, config, materials, Killed(), stages=("train",))
    stored = torch.load(places[1].checkpoint, weights_only=True)
    assert not [name for name in stored["state_dict"] if "lora" not in name and "packer" not in name]
    run(places[1].path, config, materials, Reporter(), stages=("train",))
    for file in (LORA_FILE, "model.safetensors"):
        whole, killed = (load_file(place.model / file) for place in places)
        assert all(torch.equal(value, killed[name]) for name, value in whole.items())


def test_all_weights_learn_without_adapters(tmp_path: Path) -> None:
    config = real_config("wan", tmp_path, ("model.lora=null", "model.checkpointing=true"))
    place = RunFolder(tmp_path / "runs" / "arm" / "seed0")
    run(place.path, config, Materials(tmp_path / "cache", Reporter()), Reporter(), stages=("train",))
    start = load_file(tmp_path / "wan" / "transformer" / "diffusion_pytorch_model.safetensors")
    trained = load_file(place.model / "transformer" / "diffusion_pytorch_model.safetensors")
    assert trained.keys() == start.keys()
    changed = [name for name in start if not torch.equal(start[name].float(), trained[name].float())]
    assert len(changed) > 0.9 * len(start)
    assert FramePackModel.load(place.model).source is None


def test_what_a_model_is_told_is_in_its_keys(tmp_path: Path) -> None:
    config = real_config("framepack", tmp_path)
    keys = stage_keys(config)
    for part in ("transformer", "vae", "text_encoder", "image_encoder"):
        file = next((tmp_path / "framepack" / part).glob("*.safetensors"))
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert stage_keys(config).train != keys.train, part
        file.write_bytes(content)
    assert stage_keys(config) == keys
    trained = stage_keys(replace(config, objective=replace(config.objective, distilled_guidance=6.0)))
    assert trained.train != keys.train
    sampled = stage_keys(replace(config, sampling=replace(config.sampling, distilled_guidance=1.0)))
    assert sampled.train == keys.train
    assert sampled.sample != keys.sample


def test_the_documented_grid_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "my_wan.yaml").write_text(block[1], encoding="utf-8")
    grid = load_grid(tmp_path / "my_wan.yaml")
    assert [arm.config.parsed_recipe.order for arm in grid.arms] == ["vanilla", "inverted", "none"]
    assert f"runs/{grid.name}/{grid.arms[0].name}/seed0" in page


def test_the_documented_loop_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[4] / "docs" / "models.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    shorter = (
        block[1].replace("64", "12").replace("SamplingConfig()", "SamplingConfig(SolverConfig(steps=1))")
    )
    exec(shorter, {"SolverConfig": SolverConfig})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_grid_compares_recipes_over_a_transformer(tmp_path: Path) -> None:
    real_config("wan", tmp_path)
    settings = "\n".join(f"  {setting.replace('=', ': ', 1)}" for setting in SETTINGS)
    grid = tmp_path / "real.yaml"
    grid.write_text(
        f"name: real\nbase: tiny\ncommon:\n{settings}\n  model.base: {tmp_path}/wan\n"
        f"  codec.source: {tmp_path}/wan\naxes:\n  recipe: [td_f2k2f1k1_g3, f1k1_x_g3_f1k1f2k2_td, g3]\n"
    )
    result = run_grid(load_grid(grid), tmp_path / "runs", Console(quiet=True), command="test")
    assert result.failed == {}
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert "f1k1_x_g3_f1k1f2k2_td" in page


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    materials = Materials(tmp_path / "cache", Reporter())
    with pytest.raises(ValueError, match=r"1 \+ 4n .*got 10; .*\b9 or 13"):
        run(
            tmp_path / "runs" / "length",
            real_config("wan", tmp_path, ("data.world.frames=10",)),
            materials,
            Reporter(),
        )
