"""One class per family of models answers for an arm, whatever its base."""

import json
from pathlib import Path

import pytest

from fp_data.buckets import Bucket
from fp_lab.backbones.diffusers.families import stored_settings
from fp_lab.backbones.diffusers.presets import CLASSES, LATENT_CHANNELS, MODELS
from fp_lab.backbones.protocol import TRANSFORMER
from fp_lab.lab.config import load
from fp_lab.lab.model_families.choose import family_of
from fp_lab.lab.model_families.diffusers import DiffusersModels
from fp_lab.lab.model_families.family import ModelFamily
from fp_lab.lab.model_families.own import OwnModels
from fp_lab.weights.files import CONFIG_FILE


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        ("null", OwnModels),
        ("shipped", OwnModels),
        ("no/such/folder", OwnModels),
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", DiffusersModels),
    ],
)
def test_the_family_is_chosen_by_the_format_of_the_base(base: str, kind: type) -> None:
    family = family_of(load("base", [f"model.base={base}"]))
    assert type(family) is kind
    assert isinstance(family, ModelFamily)


def test_own_models_stand_for_themselves(tmp_path: Path) -> None:
    config = load("base", ["data.world.size=64"])
    family = family_of(config)
    assert family.embeds_captions
    assert family.encoders() is None
    assert family.released_model() is None
    assert family.sizes() == (Bucket(64, 64),)
    assert family.stand_in(tmp_path) is config
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["base", "hunyuan-video", "wan-14b-i2v"])
def test_a_small_transformer_stands_for_a_large_one(name: str, tmp_path: Path) -> None:
    large = MODELS[name]
    stored = tmp_path / "large" / TRANSFORMER / CONFIG_FILE
    stored.parent.mkdir(parents=True)
    stored.write_text(json.dumps({"_class_name": CLASSES[large.family], **large.settings}))  # no weights
    config = load("base", [f"model.base={tmp_path / 'large'}", "objective.flow.output=velocity"])
    small = family_of(config).stand_in(tmp_path / "small")
    kind, settings = stored_settings(str(small.model.base))
    assert kind == CLASSES[large.family]
    inputs = ("text_embed_dim", "text_dim", "image_proj_dim", "image_dim", "has_image_proj")
    assert {key: settings.get(key) for key in inputs} == {key: large.settings.get(key) for key in inputs}
    model = family_of(small).starting_model(channels=LATENT_CHANNELS)
    assert model.backbone.channels == LATENT_CHANNELS
    assert sum(parameter.numel() for parameter in model.parameters()) < 5e7
