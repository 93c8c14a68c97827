"""Module and data in the user's own Trainer, with an own logger, and by LightningCLI from plain values."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning import Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger

from fixtures import tiny_codec
from fp_data.worlds import WorldConfig
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.config import DataConfig
from fp_lab.lab.materials.datamodule import FramePackData
from fp_lab.training.framepack_module import FramePackModule

RECIPE = "td_f2k2f1k1_g3"
SIZES = {"width": 32, "depth": 2, "head_width": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    tiny_codec(made / "codec")
    return made


def data(folder: Path) -> FramePackData:
    world = WorldConfig(size=16, frames=7)
    return FramePackData(
        DataConfig(world=world, train_videos=4),
        codec=str(folder / "codec"),
        batch=2,
        videos=2,
        frames=7,
        cache=str(folder / "cache"),
    )


def module(folder: Path) -> FramePackModule:
    channels = Codec.load(folder / "codec").channels
    return FramePackModule(RECIPE, base=None, backbone={"channels": channels, **SIZES}, steps=4)


def trainer(folder: Path, **options: Any) -> Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    settings = {"logger": False, "default_root_dir": folder, **quiet, "val_check_interval": 2, **options}
    return Trainer(accelerator="cpu", devices=1, enable_checkpointing=False, **settings)


def test_an_own_trainer_logs_validates_and_predicts(folder: Path) -> None:
    own = trainer(folder, max_steps=4, logger=CSVLogger(folder / "logs"), log_every_n_steps=1)
    own.fit(module(folder), datamodule=data(folder))
    (log,) = (folder / "logs").rglob("metrics.csv")
    assert {"train/loss", "val/loss"} <= set(log.read_text().splitlines()[0].split(","))
    (made,) = own.predict(own.lightning_module, datamodule=data(folder)) or ()
    held_out = next(iter(data(folder).val_dataloader()))
    assert isinstance(made, torch.Tensor)
    assert made.shape == held_out["latents"].shape
    assert torch.equal(made[:, :, 0], held_out["latents"][:, :, 0])


def test_a_training_that_is_continued_ends_with_the_same_bits(folder: Path) -> None:
    whole = module(folder)
    trainer(folder, max_steps=4).fit(whole, datamodule=data(folder))
    half = trainer(folder, max_steps=2)
    half.fit(module(folder), datamodule=data(folder))
    half.save_checkpoint(folder / "half.ckpt")
    again = module(folder)
    trainer(folder, max_steps=4).fit(
        again, datamodule=data(folder), ckpt_path=folder / "half.ckpt", weights_only=True
    )
    theirs = whole.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in again.state_dict().items())


def test_lightnings_command_line_takes_plain_values(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["own.py"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # lightning 2.6 calls what it deprecates
    channels = Codec.load(folder / "codec").channels
    settings = {
        "seed_everything": 1,
        "model": {
            "recipe": RECIPE,
            "base": None,
            "backbone": {"channels": channels, **SIZES},
            "optimizer": {"learning_rate": 0.001},
            "steps": 2,
        },
        "data": {
            "data": {"world": {"size": 16, "frames": 7}, "train_videos": 4},
            "codec": str(folder / "codec"),
            "batch": 2,
            "videos": 2,
            "frames": 7,
            "cache": str(folder / "cache"),
        },
        "trainer": {
            "max_steps": 2,
            "accelerator": "cpu",
            "devices": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "val_check_interval": 2,
        },
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(settings))
    done = LightningCLI(FramePackModule, FramePackData, args=["fit", "--config", "own.yaml"])
    assert done.trainer.global_step == 2
    assert done.model.hparams["optimizer"]["learning_rate"] == 0.001


def test_the_documents_script_and_loop_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer videos and steps, and a smaller world."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[4] / "docs" / "lightning.md").read_text(encoding="utf-8")
    script, loop, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    smaller = {"train_videos=32": "train_videos=4", " videos=4)": " videos=2, frames=10, batch=2)"}
    fewer = {"steps=20": "steps=2", "val_check_interval=10": "val_check_interval=2"}
    quiet = {
        'accelerator="cpu"': 'accelerator="cpu", devices=1, enable_progress_bar=False, log_every_n_steps=1'
    }
    for asked, tiny in {**smaller, **fewer, **quiet, 'variant="curtain"': "size=32, frames=10"}.items():
        assert asked in script
        script = script.replace(asked, tiny)
    made: dict[str, Any] = {}
    exec(script, made)
    assert [tuple(part.shape) for part in made["latents"]] == [(2, 4, 10, 8, 8)]
    exec(loop, made)
    assert torch.isfinite(made["loss"])
