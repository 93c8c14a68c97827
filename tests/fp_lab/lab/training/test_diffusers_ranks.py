"""Two processes that train transformers of diffusers together, over gloo on the CPU."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from fp_lab.backbones.diffusers.lora import LORA_FILE, trainable
from fp_lab.lab.config import ExperimentConfig, TrainingConfig, to_yaml
from fp_lab.lab.encoding.conditions import attach_text_embeddings
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.tiny_pipelines import TinyFamily
from fp_lab.lab.training.fsdp import ShardedSystem
from fp_lab.model import FramePackModel
from fp_lab.training.framepack_system import step_generator
from fp_lab.training.optimizer import OptimizerConfig
from real_arms import real_config

STEPS, BATCH, RANKS, DECAY = 3, 4, 2, 0.5
LORA, FULL = "model.lora.rank=2", "model.lora=null"
ARMS: dict[str, tuple[TinyFamily, tuple[str, ...]]] = {
    "framepack": ("framepack", (LORA,)),
    "framepack, bfloat16": ("framepack", (LORA, "model.dtype=bfloat16")),
    "framepack, all weights": ("framepack", (FULL, "model.checkpointing=true")),
    "wan": ("wan", (LORA,)),
    "wan, all weights": ("wan", (FULL,)),
}
TRAINED = {
    "stopped": (("ddp", "framepack"), ("fsdp", "framepack, bfloat16"), ("fsdp", "framepack, all weights")),
    "whole": (("ddp", "framepack"), ("ddp", "wan"), ("fsdp", "wan"), ("fsdp", "wan, all weights")),
}
"""How ranks share an arm's work; those that are ``stopped`` in their third step are continued then."""
EVERY = [(how, *training) for how, trainings in TRAINED.items() for training in trainings]
Places = dict[tuple[str, str, str], RunFolder]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module", autouse=True)
def environment(folder: Path) -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FP_LAB_CACHE", str(folder / "fp_lab_cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield dict(os.environ)


def config_of(folder: Path, arm: str, way: str) -> ExperimentConfig:
    family, settings = ARMS[arm]
    training = [f"steps={STEPS}", f"batch={BATCH}", f"devices={RANKS}", f"ema={DECAY}"]
    training += [f"strategy={way}"]
    return real_config(family, folder, (*settings, *(f"training.{setting}" for setting in training)))


@pytest.fixture(scope="module")
def trained(folder: Path, materials: Materials, environment: dict[str, str]) -> Places:
    """Trainings of two ranks."""
    places = {}
    for how, way, arm in EVERY:
        place = places[how, way, arm] = RunFolder(folder / how / f"{way} {arm}")
        place.path.mkdir(parents=True)
        config = config_of(folder, arm, way)
        place.config.write_text(to_yaml(config))
        materials.training(config)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(RANKS), "--standalone"]
    command += [str(Path(__file__).with_name("rank_of_a_test.py")), str(folder / "cache")]
    command += [str(place.path) for place in places.values()]
    done = subprocess.run(command, capture_output=True, env=environment, text=True)
    assert done.returncode == 0, done.stderr
    return places


def in_one_process(config: ExperimentConfig, materials: Materials) -> dict[str, Tensor]:
    """Averaged weights that learned: each step that of the mean gradient of the ranks' halves."""
    videos = materials.training(config)
    model = build_model(config, materials.codec(config).channels)
    model = attach_text_embeddings(model, config, videos.captions)
    system = build_system(config, model)
    configured = system.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]  # type: ignore[index]
    average: dict[str, Tensor] = {}
    for step in range(STEPS):
        for rank in range(RANKS):
            halves = videos.batches(BATCH, config.seed, rank=rank, ranks=RANKS, first_batch=step)
            loss = system.section_loss(next(iter(halves)), step_generator(config.seed, rank, step))
            (loss / RANKS).backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), config.training.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        learned = {name: parameter.detach().clone() for name, parameter in trainable(model)}
        average = average or learned
        average = {name: DECAY * average[name] + (1 - DECAY) * value for name, value in learned.items()}
    return average


@pytest.mark.parametrize(("how", "way", "arm"), EVERY)
def test_ranks_train_what_one_process_does(
    how: str, way: str, arm: str, folder: Path, materials: Materials, trained: Places
) -> None:
    """The model that is written loads, and its base is untouched."""
    config = config_of(folder, arm, way)
    start = dict(build_model(config, materials.codec(config).channels).named_parameters())
    dtype = getattr(torch, config.model.dtype)
    saved = FramePackModel.load(trained[how, way, arm].model, torch_dtype=dtype)
    expected, learned = in_one_process(config, materials), 0
    for name, value in saved.named_parameters():
        if name in expected:
            torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=5e-5, msg=name)
            learned += not torch.equal(value, start[name])
        elif "clean_x_embedder" not in name:  # written for diffusers' own pipeline: the packer's weights
            assert torch.equal(value, start[name]), name
    assert learned > 0.9 * len(expected) > 10


@pytest.mark.parametrize(("how", "way", "arm"), EVERY)
def test_checkpoints_hold_what_learns_and_nothing_else(
    how: str, way: str, arm: str, folder: Path, materials: Materials, trained: Places
) -> None:
    config = config_of(folder, arm, way)
    learned = {
        f"model.{name}" for name, _ in trainable(build_model(config, materials.codec(config).channels))
    }
    stored = torch.load(trained[how, way, arm].checkpoint, weights_only=True)
    assert stored["global_step"] == 2
    assert stored["state_dict"].keys() == learned
    assert len(stored["optimizer_states"][0]["state"]) == len(learned)
    if way == "fsdp":
        assert stored["fp_lab_average"].keys() == learned


def test_a_stopped_training_of_adapters_continues_to_the_same_bits_on_every_rank(
    trained: Places,
) -> None:
    stopped, whole = (trained[how, "ddp", "framepack"] for how in TRAINED)
    for file in (LORA_FILE, "model.safetensors"):
        one, other = (load_file(place.model / file) for place in (stopped, whole))
        assert all(torch.equal(value, other[name]) for name, value in one.items())
    left = [path.read_text() for place in (stopped, whole) for path in place.path.glob("model-of-rank-*")]
    assert len(left) == 2 * RANKS
    assert len(set(left)) == 1


def test_every_block_is_dealt_out_by_itself(folder: Path, materials: Materials) -> None:
    """In a group of one process; only a block at work is whole, so memory is that of a block."""
    config = config_of(folder, "framepack", "fsdp")
    model = build_model(config, materials.codec(config).channels)
    names = [name for name, _ in model.named_parameters()]
    system = build_system(config, model, ShardedSystem)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        system._device_mesh = init_device_mesh("cpu", (1,), mesh_dim_names=("data_parallel",))
        system.configure_model()
    finally:
        torch.distributed.destroy_process_group()
    assert [name for name, _ in model.named_parameters()] == names
    assert all(isinstance(parameter, DTensor) for parameter in model.parameters())
    assert all(isinstance(block, FSDPModule) for block in [system, *model.backbone.blocks])


def test_sharded_weights_are_not_for_every_optimizer() -> None:
    with pytest.raises(ValueError, match=r"got 'fsdp' with optimizer.kind 'adamw8bit', expected ddp"):
        ExperimentConfig(
            "g3",
            training=TrainingConfig(devices=2, strategy="fsdp"),
            optimizer=OptimizerConfig(kind="adamw8bit"),
        )
