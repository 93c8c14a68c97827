"""Transformers in files: whatever diffusers loads is loaded, and what it does not load whole is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import tiny_wan
from fp_lab.backbones.diffusers.families import load_transformer
from fp_lab.weights.files import CONFIG_FILE
from tiny_hunyuan import TINY

WEIGHTS = "diffusion_pytorch_model.safetensors"
PLAIN, PACKED, WAN = (
    "HunyuanVideoTransformer3DModel",
    "HunyuanVideoFramepackTransformer3DModel",
    "WanTransformer3DModel",
)
FLAGS = ("has_image_proj", "image_proj_dim", "has_clean_x_embedder")
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "hunyuan": (PLAIN, {name: value for name, value in TINY.items() if name not in FLAGS}),
    "framepack": (PACKED, TINY),
    "framepack without projections": (PACKED, TINY | {"has_clean_x_embedder": False}),
    "wan": (WAN, tiny_wan.TEXT),
    "wan image": (WAN, tiny_wan.IMAGE),
}
OFFICIAL = "HunyuanVideoTransformer3DModelPacked"
"""In the config.json of lllyasviel/FramePackI2V_HY and of F1, as FramePack's own code writes it."""


@pytest.fixture(params=MODELS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    name, settings = MODELS[request.param]
    getattr(diffusers, name)(**settings).save_pretrained(tmp_path)
    return name, tmp_path


def rename(folder: Path, name: str | None) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config["_class_name"]
    (folder / CONFIG_FILE).write_text(json.dumps(config if name is None else {"_class_name": name} | config))


def change(folder: Path, to: Callable[[dict[str, Tensor]], Any]) -> None:
    state = load_file(folder / WEIGHTS)
    to(state)
    save_file(state, folder / WEIGHTS, {"format": "pt"})


def assert_as_diffusers(name: str, folder: Path) -> None:
    theirs = getattr(diffusers, name).from_pretrained(folder)
    ours = load_transformer(folder).transformer
    assert type(ours) is type(theirs)
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key


def test_a_name_is_of_the_authors_or_of_diffusers_and_settings_decide(stored: tuple[str, Path]) -> None:
    name, folder = stored
    others = [name] if name == WAN else [PLAIN, PACKED, OFFICIAL]
    for other in (*others, None):
        rename(folder, name)
        rename(folder, other)
        assert_as_diffusers(name, folder)


def test_shards_are_one_model(stored: tuple[str, Path]) -> None:
    name, folder = stored
    model = getattr(diffusers, name).from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert_as_diffusers(name, folder)
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-8])
    with pytest.raises(ValueError, match=shard.name):
        load_transformer(folder)
    shard.unlink()
    with pytest.raises(ValueError, match=shard.name):
        load_transformer(folder)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        (lambda state: state.pop("proj_out.weight"), r"1 missing, proj_out\.weight"),
        (lambda state: state.update(odd=torch.ones(1)), r"1 unexpected, odd\b"),
        (lambda state: state.update({"proj_out.weight": torch.ones(3, 3)}), r"proj_out\.weight"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_what_is_not_whole_is_refused(
    stored: tuple[str, Path], to: Callable[[dict[str, Tensor]], Any], message: str
) -> None:
    _, folder = stored
    change(folder, to)
    with pytest.raises(ValueError, match=message):
        load_transformer(folder)


@pytest.mark.parametrize("name", ["WanModel", "FluxTransformer2DModel"])
def test_a_transformer_of_another_class_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"_class_name": name, "dim": 8}))
    with pytest.raises(ValueError, match=f"{name}, expected .*{OFFICIAL}"):
        load_transformer(tmp_path)
    rename(tmp_path, None)
    with pytest.raises(ValueError, match="_class_name"):
        load_transformer(tmp_path)


def test_one_of_two_experts_is_refused_alone_too(tmp_path: Path) -> None:
    getattr(diffusers, WAN)(**tiny_wan.TEXT).save_pretrained(tmp_path / "transformer")
    parts = {name: ["diffusers", WAN] for name in ("transformer", "transformer_2")}
    (tmp_path / "model_index.json").write_text(json.dumps(parts))
    for source in (tmp_path, tmp_path / "transformer"):
        with pytest.raises(ValueError, match=r"transformer_2 \(WanTransformer3DModel\)"):
            load_transformer(source)
