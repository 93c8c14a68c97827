"""Training logic from plain values: an ordinary LightningModule, checkpoints that need only a path."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fp_data.latents import LatentBatches, LatentVideos
from fp_lab.backbones.tiny import TinyDiTConfig, WordsConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.training.framepack_module import FramePackModule
from fp_lab.training.framepack_system import LatentBatch
from fp_lab.training.optimizer import OptimizerConfig

RECIPE, FRAMES = "td_f4k2f1k1_g4", 9
BACKBONE = {"channels": 4, "width": 32, "depth": 2, "head_width": 16, "words": {"words": ["red", "ball"]}}


def module(**settings: Any) -> FramePackModule:
    plain = {"backbone": BACKBONE, "optimizer": {"warmup": 1}, "sampling": {"solver": {"steps": 2}}}
    return FramePackModule(RECIPE, base=None, **{**plain, "steps": 4, **settings})


def videos() -> LatentVideos:
    latents = torch.randn(4, 4, FRAMES, 4, 4, generator=torch.Generator().manual_seed(0))
    return LatentVideos(latents, ("red ball",) * 4, tuple(range(4)))


def training() -> DataLoader[Any]:
    return DataLoader(LatentBatches(videos(), 2, seed=0), batch_size=None)


def held_out() -> DataLoader[Any]:
    batches: Any = [LatentBatch(latents=videos().latents[:2], captions=("red ball", "blue"))]
    return DataLoader(batches, batch_size=None)


def trainer(folder: Path, **options: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    once: dict[str, Any] = {"limit_val_batches": 1, "val_check_interval": 2, "num_sanity_val_steps": 0}
    settings = {"default_root_dir": folder, **quiet, **once, **options}
    return Trainer(accelerator="cpu", devices=1, **settings)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[FramePackModule, Path]:
    """A module after two steps, and its checkpoint as lightning writes it."""
    folder, trained = tmp_path_factory.mktemp("module"), module()
    keep = ModelCheckpoint(folder, filename="last", every_n_train_steps=2)
    trainer(folder, max_steps=2, callbacks=[keep]).fit(trained, training(), held_out())
    return trained, folder / "last.ckpt"


def test_a_checkpoint_needs_only_its_path(stored: tuple[FramePackModule, Path]) -> None:
    trained, path = stored
    again = FramePackModule.load_from_checkpoint(path)
    assert dict(again.hparams) == dict(trained.hparams)
    theirs = trained.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in again.state_dict().items())
    assert again.model.backbone.config.words == WordsConfig(words=("red", "ball"))


def test_a_checkpoint_holds_plain_values(stored: tuple[FramePackModule, Path]) -> None:
    content = torch.load(stored[1], weights_only=True)
    assert content["hyper_parameters"]["backbone"]["words"]["words"] == ("red", "ball")


def test_plain_and_typed_values_make_the_same_module() -> None:
    typed = module(
        backbone=TinyDiTConfig(4, 32, 2, 16, words=WordsConfig(("red", "ball"))),
        optimizer=OptimizerConfig(warmup=1),
        sampling=SamplingConfig(SolverConfig(steps=2)),
    )
    plain = module()
    assert dict(typed.hparams) == dict(plain.hparams)
    assert all(map(torch.equal, typed.state_dict().values(), plain.state_dict().values()))


def test_a_setting_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="wide"):
        module(backbone={**BACKBONE, "wide": 3})


def test_validation_draws_the_same_in_every_epoch_and_moves_nothing(tmp_path: Path) -> None:
    own = module()
    before = {name: value.clone() for name, value in own.state_dict().items()}
    first, second = (trainer(tmp_path).validate(own, held_out(), verbose=False) for _ in range(2))
    assert first == second
    assert first[0]["val/loss"] > 0
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())
    assert trainer(tmp_path).validate(module(seed=1), held_out(), verbose=False) != first


def test_prediction_is_a_rollout_from_the_first_frame(
    stored: tuple[FramePackModule, Path], tmp_path: Path
) -> None:
    trained = stored[0]
    (made,) = trainer(tmp_path).predict(trained, held_out())
    (batch,) = held_out()
    sections = rollout(
        trained.model.eval(),
        trained.recipe,
        batch["latents"][:, :, :1],
        frames=FRAMES,
        captions=batch["captions"],
        seeds=(0, 1),
        sampling=trained.sampling,
    )
    torch.testing.assert_close(made[:, :, 1:], torch.cat([part.latents for part in sections], 2))
    assert torch.equal(made[:, :, :1], batch["latents"][:, :, :1])


def test_a_discrete_history_is_refused_as_nothing_fits_its_codebook() -> None:
    with pytest.raises(ValueError, match="D64"):
        FramePackModule(f"{RECIPE}+D64", base=None, backbone=BACKBONE)
