"""Low-rank adapters of both families: what learns, what is stored, and who can read it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import HunyuanVideoFramepackPipeline, WanPipeline
from torch import Tensor, nn

import tiny_hunyuan
import tiny_wan
from fp_lab.backbones.diffusers.lora import LORA_FILE, LoraConfig, load_lora, targeted
from fp_lab.flow.matching import FlowConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.shapes import TextCondition
from fp_lab.training.framepack_system import FramePackSystem, LatentBatch, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig
from tiny_conditions import normal, told

RECIPE = parse("td_f2k2f1k1_g3")
LORA = LoraConfig(rank=2, alpha=4)
FRAMES, STEPS = 7, 20
TRANSFORMERS = {"hunyuan_video": tiny_hunyuan.diffusers_model, "wan": tiny_wan.diffusers_model}


@pytest.fixture(params=list(TRANSFORMERS))
def family(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def folder(family: str, tmp_path: Path) -> Path:
    TRANSFORMERS[family]().save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def model_of(folder: Path, family: str, lora: LoraConfig | None = LORA) -> FramePackModel:
    torch.manual_seed(0)
    model = FramePackModel.from_transformer(folder, kernels_of(RECIPE), lora=lora)
    model.backbone.texts = lambda captions: told(captions, family)
    return model


def batch(family: str) -> LatentBatch:
    made = LatentBatch(latents=normal(2, 4, FRAMES, 4, 4), captions=["a ball", "a dog"])
    if family == "hunyuan_video":
        made["images"] = normal(2, 3, 16)
    return made


def train(model: FramePackModel, family: str, steps: int = STEPS) -> None:
    system = FramePackSystem(
        model,
        PlannedSections(RECIPE),
        ObjectiveConfig(FlowConfig(output="velocity")),
        OptimizerConfig(learning_rate=1e-2, warmup=1),
        steps=steps,
        seed=0,
    )
    optimizer: Any = system.configure_optimizers()
    for step in range(steps):
        system.section_loss(batch(family), step_generator(0, 0, step)).backward()
        optimizer["optimizer"].step()
        optimizer["optimizer"].zero_grad()


@torch.no_grad()
def predict(model: FramePackModel, family: str) -> Tensor:
    text: TextCondition = model.backbone.encode_text(["a ball"] * 2, batch(family).get("images"), 1.0)
    times = torch.arange(3)[None].expand(2, -1)
    return model.eval()(normal(2, 4, 3, 4, 4, seed=5), times, torch.tensor([0.7, 0.2]), text, None)


def test_steps_change_adapters_and_projections_alone(folder: Path, family: str) -> None:
    model = model_of(folder, family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(predict(model, family), predict(model_of(folder, family, None), family))
    train(model.train(), family)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    adapters = {name for name in before if ".lora_" in name}
    assert len(adapters) == 2 * len(targeted(TRANSFORMERS[family](), LORA)) > 20
    assert changed == adapters | {name for name in before if name.startswith("packer.")}


def test_a_folder_of_adapters_makes_the_model_again(folder: Path, family: str, tmp_path: Path) -> None:
    model = model_of(folder, family)
    train(model, family)
    model.save(tmp_path / "trained")
    assert {file.name for file in (tmp_path / "trained").iterdir()} == {
        "config.json",
        "model.safetensors",
        LORA_FILE,
    }
    again = FramePackModel.load(tmp_path / "trained")
    again.backbone.texts = model.backbone.texts
    assert (again.source, again.lora) == (str(folder.resolve()), LORA)
    for (name, one), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert torch.equal(predict(again, family), predict(model, family))


def test_a_pipeline_of_diffusers_reads_the_adapters(folder: Path, family: str, tmp_path: Path) -> None:
    model = model_of(folder, family)
    train(model, family)
    model.save(tmp_path / "trained")
    transformer: Any = TRANSFORMERS[family]().__class__.from_pretrained(folder)
    pipeline: Any = (
        WanPipeline(None, None, None, None, transformer)
        if family == "wan"
        else HunyuanVideoFramepackPipeline(None, None, transformer, None, None, None, None, None, None)
    )
    pipeline.load_lora_weights(tmp_path / "trained", weight_name=LORA_FILE)
    theirs = {
        name.replace(".default_0.", ".default."): value
        for name, value in pipeline.transformer.state_dict().items()
    }
    ours = model.backbone.transformer.state_dict()
    assert theirs.keys() == ours.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_weights_that_are_frozen_are_in_no_checkpoint(folder: Path, family: str) -> None:
    system = FramePackSystem(
        model_of(folder, family),
        PlannedSections(RECIPE),
        ObjectiveConfig(FlowConfig(output="velocity")),
        OptimizerConfig(),
        steps=1,
        seed=0,
    )
    checkpoint: dict[str, Any] = {"state_dict": system.state_dict(), "global_step": 1}
    system.on_save_checkpoint(checkpoint)
    assert all(".lora_" in name or "packer." in name for name in checkpoint["state_dict"])
    assert not system.strict_loading


def test_targets_choose_the_layers() -> None:
    transformer = tiny_hunyuan.diffusers_model()
    attention, mlp = (
        set(targeted(transformer, LoraConfig(targets=(name,)))) for name in ("attention", "mlp")
    )
    assert all(".attn." in name for name in attention)
    assert not any(".attn." in name for name in mlp)
    assert attention | mlp == set(targeted(transformer, LoraConfig()))
    linear = {name for name, part in transformer.named_modules() if isinstance(part, nn.Linear)}
    left = linear - attention - mlp
    assert not [name for name in left if "blocks" in name and ".norm" not in name and "refiner" not in name]


def test_what_is_no_adapter_is_refused(folder: Path, family: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lora\.rank: got 0, expected .*\b1$"):
        LoraConfig(rank=0)
    with pytest.raises(ValueError, match=r"lora\.targets: got \['norms'\], expected .*attention, mlp"):
        LoraConfig(targets=("norms",))
    with pytest.raises(ValueError, match=r"expected pytorch_lora_weights.safetensors"):
        load_lora(TRANSFORMERS[family](), tmp_path, LORA)
    model = model_of(folder, family)
    model.save(tmp_path / "trained")
    config = json.loads((tmp_path / "trained" / "config.json").read_text())
    config["transformer"]["lora"]["targets"] = ["mlp"]
    (tmp_path / "trained" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"pytorch_lora_weights\.safetensors .*'rank': 2"):
        FramePackModel.load(tmp_path / "trained")
    with pytest.raises(ValueError, match=r"/missing: expected .*\btransformer/"):
        FramePackModel.from_transformer(tmp_path / "missing", kernels_of(RECIPE))
