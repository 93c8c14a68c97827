from pathlib import Path

import pytest
import torch

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig, WordsConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import Codebook
from fp_lab.packing.context import ContextConfig, ImportanceConfig
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import BASE, COMPRESSIONS, parse
from fp_lab.recipe.compressions import from_parts

CONFIG = TinyDiTConfig(
    channels=4, width=32, depth=1, head_width=16, words=WordsConfig(words=("red",), buckets=3)
)


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    kernels = kernels_of(parse("td_f4k2f1k1h4w2f1k1_g9"))
    model = FramePackModel(TinyDiT(CONFIG), kernels, "velocity")
    model.save(tmp_path)
    loaded = FramePackModel.load(tmp_path)
    assert (loaded.kernels, loaded.output, loaded.sha256) == (kernels, "velocity", model.sha256)
    assert loaded.backbone.config == CONFIG
    for name, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name]), name


def test_options_of_the_context_and_the_codebook_are_stored(tmp_path: Path) -> None:
    config = ContextConfig(
        timestep="zero", attention="isolated", amplify=True, importance=ImportanceConfig("hybrid", 0.5)
    )
    codebook = Codebook(3, 4)
    codebook.centroids.copy_(torch.randn(3, 4))
    model = FramePackModel(TinyDiT(CONFIG), [BASE], "clean", config, codebook)
    model.save(tmp_path)
    loaded = FramePackModel.load(tmp_path)
    assert loaded.context == config
    latents = torch.randn(2, 4, 3, 2, 2)
    assert torch.equal(loaded.history(latents), model.history(latents))
    assert loaded.packer.amplification is not None
    assert loaded.packer.amplification.shape == (1, 2)


def test_a_schedule_starts_from_the_base_projection() -> None:
    base = FramePackModel(TinyDiT(CONFIG), [BASE], "clean")
    arm = base.with_kernels(kernels_of(parse("td_f4k2f1k1_g9")))
    assert sorted(arm.packer.projections) == ["1x2x2", "2x4x4"]
    torch.testing.assert_close(arm.packer.base_projection().weight, base.packer.base_projection().weight)
    assert arm.packer.base_projection() is not base.packer.base_projection(), "arms must not train each other"


def test_a_folder_without_a_model_is_named() -> None:
    with pytest.raises(ValueError, match=r" /nowhere: expected .*fp-lab pretrain"):
        FramePackModel.load("/nowhere")


def test_the_shipped_base_loads() -> None:
    model = FramePackModel.load("shipped")
    presets = [from_parts(name, "vanilla") for name in COMPRESSIONS]
    assert set(model.kernels) >= {BASE, *(kernel for recipe in presets for kernel in kernels_of(recipe))}
    assert "striped" in model.backbone.config.words.words
