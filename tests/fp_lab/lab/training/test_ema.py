"""The averaged weights of models that learn whole, and of models of which adapters learn."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from lightning import Callback, Trainer
from torch.utils.data import DataLoader

import tiny_wan
from fp_data.latents import LatentBatches, LatentVideos
from fp_lab.backbones.diffusers.lora import LoraConfig, add_lora, trainable
from fp_lab.backbones.wan.condition import WanCondition
from fp_lab.backbones.wan.model import Wan
from fp_lab.flow.matching import FlowConfig
from fp_lab.lab.training.callbacks import SavePoint
from fp_lab.lab.training.ema import Average, Averaging, LearnedAveraging
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.training.framepack_system import FramePackSystem
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig

RECIPE = parse("td_f2k2f1k1_g3")
FRAMES, DECAY = 7, 0.7


def model(*, adapters: bool) -> FramePackModel:
    transformer = copy.deepcopy(tiny_wan.diffusers_model())
    torch.manual_seed(0)
    made = FramePackModel(Wan(transformer), kernels_of(RECIPE), "velocity")
    made.backbone.texts = lambda captions: WanCondition(torch.ones(len(captions), 5, 16))
    if adapters:
        made.lora = LoraConfig(rank=2)
        add_lora(transformer, made.lora)
    return made.train()


def system_of(subject: FramePackModel, steps: int) -> FramePackSystem:
    return FramePackSystem(
        subject,
        PlannedSections(RECIPE),
        ObjectiveConfig(FlowConfig(output="velocity")),
        OptimizerConfig(learning_rate=1e-2, warmup=1, decay=0.0),
        steps=steps,
        seed=0,
    )


def fit(
    average: Any, subject: FramePackModel, steps: int, save: Path | None = None, start: Path | None = None
) -> FramePackModel:
    """The averaged model after a training that may begin from a checkpoint of half the steps."""
    callbacks: list[Callback] = [average]
    if save is not None:
        callbacks.append(SavePoint(save, steps, "key"))
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        gradient_clip_val=1.0,
    )
    latents = torch.randn(4, 4, FRAMES, 4, 4, generator=torch.Generator().manual_seed(0))
    videos = LatentVideos(latents, ("a ball",) * 4, tuple(range(4)))
    first = 0 if start is None else steps // 2
    loader = DataLoader(LatentBatches(videos, 2, seed=0, first_batch=first), batch_size=None)
    trainer.fit(system_of(subject, steps), loader, ckpt_path=start, weights_only=True)
    averaged: FramePackModel = average.collect(trainer)
    return averaged


def assert_same(one: FramePackModel, other: FramePackModel) -> None:
    for (name, value), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, theirs), name


def test_the_average_is_that_of_lightning() -> None:
    averages: list[Callable[[float], Average]] = [Averaging, LearnedAveraging]
    ours, theirs = (fit(average(DECAY), model(adapters=False), 4) for average in averages)
    assert_same(ours, theirs)


def test_adapters_are_averaged_and_frozen_weights_shared() -> None:
    subject = model(adapters=True)
    averaged = fit(LearnedAveraging(DECAY), subject, 4)
    last, frozen = dict(subject.named_parameters()), 0
    for name, parameter in averaged.named_parameters():
        if parameter.requires_grad:
            assert not torch.equal(parameter, last[name]), name
        else:
            assert parameter is last[name]
            frozen += 1
    assert frozen > 20


def test_an_interrupted_training_of_adapters_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = fit(LearnedAveraging(DECAY), model(adapters=True), 4)
    checkpoint = tmp_path / "checkpoint.ckpt"
    fit(LearnedAveraging(DECAY), model(adapters=True), 2, save=checkpoint)
    stored = torch.load(checkpoint, weights_only=True)
    learned = {f"model.{name}" for name, _ in trainable(model(adapters=True))}
    assert stored["state_dict"].keys() == learned
    assert_same(fit(LearnedAveraging(DECAY), model(adapters=True), 4, start=checkpoint), whole)


@pytest.mark.parametrize("adapters", [False, True])
def test_collecting_changes_nothing(*, adapters: bool) -> None:
    subject = model(adapters=adapters)
    before = {name: value.clone() for name, value in subject.state_dict().items()}
    averaged = fit(LearnedAveraging(0.0), subject, 1)
    assert_same(averaged, subject)
    changed = {name for name, value in subject.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, _ in trainable(subject)}


@pytest.mark.parametrize(("device", "dtype"), [("meta", torch.float32), ("cpu", torch.float64)])
def test_a_restored_average_follows_its_weights(device: str, dtype: torch.dtype) -> None:
    """A checkpoint is read onto the CPU, before weights go to their card; ``meta`` stands for one here."""
    average = LearnedAveraging(DECAY)
    system, trainer = system_of(model(adapters=True), 2), MagicMock(spec=Trainer)
    average.load_state_dict({name: torch.zeros_like(value) for name, value in trainable(system)})
    system.to(device, dtype)
    average.on_train_start(trainer, system)
    average.on_train_batch_end(trainer, system, None, None, 0)
    kept, parameters = average.state_dict(), dict(trainable(system))
    assert kept.keys() == parameters.keys()
    for name, value in kept.items():
        assert (value.device, value.dtype) == (parameters[name].device, parameters[name].dtype), name
