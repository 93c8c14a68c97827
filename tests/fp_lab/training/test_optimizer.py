"""Muon; moments of 8 bits, with bitsandbytes where it is installed and with what stands for it."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fp_data.latents import LatentBatches, LatentVideos
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.matching import FlowConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import Kernel, parse
from fp_lab.training.framepack_system import FramePackSystem
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig, make_optimizer

RECIPE = parse("td_f2k2f1k1_g3")
EIGHT_BITS = OptimizerConfig(kind="adamw8bit", warmup=1, weight_decay=0.1, betas=(0.8, 0.9))


MUON = OptimizerConfig(kind="muon", learning_rate=1e-2, warmup=1, weight_decay=0.0)


def system(steps: int = 4, config: OptimizerConfig = EIGHT_BITS) -> FramePackSystem:
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=64, depth=1, head_width=16))
    model = FramePackModel(backbone, kernels_of(RECIPE), "clean")
    objective = ObjectiveConfig(FlowConfig(output="clean"))
    return FramePackSystem(model, PlannedSections(RECIPE), objective, config, steps=steps, seed=0)


def fit(subject: FramePackSystem, folder: Path, steps: int, checkpoint: Path | None = None) -> None:
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=1, save_top_k=0)],
        gradient_clip_val=1.0,
    )
    latents = torch.randn(4, 4, 7, 4, 4, generator=torch.Generator().manual_seed(0))
    videos = LatentVideos(latents, ("a ball",) * 4, tuple(range(4)))
    batches = LatentBatches(videos, 2, seed=0, first_batch=0 if checkpoint is None else 2)
    loader = DataLoader(batches, batch_size=None)
    trainer.fit(subject, loader, ckpt_path=checkpoint, weights_only=True)


def test_the_class_of_bitsandbytes_is_built_with_groups_and_betas(monkeypatch: pytest.MonkeyPatch) -> None:
    class AdamW8bit(torch.optim.AdamW):
        pass

    package, optim = ModuleType("bitsandbytes"), ModuleType("bitsandbytes.optim")
    optim.AdamW8bit = package.AdamW8bit = AdamW8bit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optim)
    subject = system()
    optimizer: Any = subject.configure_optimizers()["optimizer"]  # type: ignore[index, typeddict-item]
    assert type(optimizer) is AdamW8bit
    groups = optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.1, 0.0]
    assert {group["betas"] for group in groups} == {(0.8, 0.9)}
    assert [{p.ndim >= 2 for p in group["params"]} for group in groups] == [{True}, {True}, {False}]
    assert sum(len(group["params"]) for group in groups) == len(list(subject.parameters()))


def test_without_bitsandbytes_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ValueError, match=r"got 'adamw8bit' .*`pip install -e '\.\[bitsandbytes"):
        system().configure_optimizers()


def test_a_stopped_training_with_muon_continues_to_the_same_bits(tmp_path: Path) -> None:
    whole, stopped, again = (system(config=MUON) for _ in range(3))
    fit(whole, tmp_path / "whole", 4)
    fit(stopped, tmp_path / "stopped", 2)
    fit(again, tmp_path / "stopped", 4, tmp_path / "stopped" / "last.ckpt")
    for (name, value), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    assert not torch.equal(stopped.model.backbone.final.weight, again.model.backbone.final.weight)


def test_muon_takes_the_matrices_of_blocks_and_adamw_the_rest() -> None:
    subject, twin = system(config=MUON), system(config=MUON)
    optimizer = subject.configure_optimizers()["optimizer"]  # type: ignore[index, typeddict-item]
    parts = [dict(model.named_parameters()) for model in (subject.model, twin.model)]
    inside = [n for n in parts[1] if ".blocks." in n and n.endswith("weight") and parts[1][n].ndim == 2]
    assert {name.split(".")[-2] for name in inside} >= {"qkv", "out", "up", "down", "query", "key_value"}
    rest = [value for name, value in parts[1].items() if name not in inside]
    apart = [
        torch.optim.Muon([parts[1][n] for n in inside], 1e-2, weight_decay=0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, 1e-2, betas=MUON.betas, weight_decay=0),
    ]
    for group in optimizer.param_groups:
        group["lr"] = 1e-2
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for one, other in zip(parts[0].values(), parts[1].values(), strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        for each in (optimizer, *apart):
            each.step()
    for name, value in parts[0].items():
        torch.testing.assert_close(value, parts[1][name], msg=name)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
@pytest.mark.parametrize(
    ("projections", "expected"),  # 4, 64 and 512 times as many inputs as the base kernel's token has
    [("fan_in", [0.01, 0.005, 0.00125, 0.00044194]), ("same", [0.01] * 4)],
)
def test_projections_of_large_kernels_learn_by_the_root_of_their_fan_in(
    kind: str, projections: str, expected: list[float]
) -> None:
    torch.manual_seed(0)
    kernels = (Kernel(1, 2, 2), Kernel(1, 4, 4), Kernel(4, 8, 8), Kernel(8, 16, 16))
    model = FramePackModel(TinyDiT(TinyDiTConfig(channels=4, width=64, depth=1)), kernels, "clean")
    config = OptimizerConfig(kind, 0.01, warmup=1, projections=projections)  # type: ignore[arg-type]
    subject = FramePackSystem(
        model, PlannedSections(RECIPE), ObjectiveConfig(FlowConfig(output="clean")), config, steps=9, seed=0
    )
    optimizer: Any = subject.configure_optimizers()["optimizer"]  # type: ignore[index, typeddict-item]
    rates = {id(p): group["initial_lr"] for group in optimizer.param_groups for p in group["params"]}
    of_kernels = [rates.pop(id(layer.weight)) for layer in model.packer.projections.values()]
    assert of_kernels == pytest.approx(expected, rel=1e-4)
    assert set(rates.values()) == {0.01}


def test_tokens_of_a_large_kernel_do_not_outgrow_those_of_the_base_on_gradients_of_noise() -> None:
    """At the base's rate they did: 26 times its size after 9,250 steps, and no level but k1 was read."""
    sizes = {}
    for projections in ("fan_in", "same"):
        torch.manual_seed(0)
        layers = [torch.nn.Conv3d(4, 64, size, stride=size) for size in ((1, 2, 2), (8, 16, 16))]
        with torch.no_grad():
            for layer in layers:
                layer.weight.zero_()
        weights = [layer.weight for layer in layers]
        config = OptimizerConfig(learning_rate=2e-3, projections=projections)
        optimizer = make_optimizer(weights, config, (), weights)
        for _ in range(100):
            for weight in weights:  # as of history that hardly changes over a kernel: all inputs alike
                weight.grad = torch.randn(len(weight), 1, 1, 1, 1).expand_as(weight).clone()
            optimizer.step()
        base, large = (weight.detach().flatten(1).sum(1).square().mean().sqrt() for weight in weights)
        sizes[projections] = float(large / base)
    assert sizes["same"] == pytest.approx(512, rel=0.3)
    assert sizes["fan_in"] == pytest.approx(512**0.5, rel=0.3)


def test_a_stopped_training_with_8_bits_continues_to_the_same_bits(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    whole, stopped, again = system(), system(), system()
    fit(whole, tmp_path / "whole", 4)
    fit(stopped, tmp_path / "stopped", 2)
    checkpoint = tmp_path / "stopped" / "last.ckpt"
    moments = torch.load(checkpoint, weights_only=True)["optimizer_states"][0]["state"].values()
    fit(again, tmp_path / "stopped", 4, checkpoint)
    for (name, value), other in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    eight = [state for state in moments if "uint8" in str(state)]
    large = [parameter for parameter in whole.parameters() if parameter.numel() >= 4096]
    assert len(eight) == len(large) > 1
