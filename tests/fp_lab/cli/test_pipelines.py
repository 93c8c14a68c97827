"""Every command that takes a model refuses one that it would use half of, before anything is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fp_lab.cli import app
from fp_lab.weights.pipelines import require_used

WAN_22: dict[str, Any] = {
    "_class_name": "WanPipeline",
    "boundary_ratio": 0.875,
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}
"""The index of Wan-AI/Wan2.2-T2V-A14B-Diffusers."""
GRID = """
name: two
base: base
common: {{model.base: {model}, objective.flow.output: velocity}}
axes: {{recipe: [g3]}}
"""


@pytest.mark.parametrize(
    "command",
    [
        "generate --checkpoint {model} --recipe td_f2k2f1k1_g3 --prompt x --frames 4",
        "generate --config base model.base={model} codec.source={model} --prompt x --frames 4",
        "encode {folder} {folder}/cache --model {model}",
        "grid {folder}/two.yaml --dry-run",
        "grid {folder}/two.yaml --runs {folder}/runs",
    ],
)
def test_two_experts_are_refused_by_name(command: str, tmp_path: Path) -> None:
    model = tmp_path / "wan22"  # no weights are there that could be loaded
    model.mkdir()
    (model / "model_index.json").write_text(json.dumps(WAN_22))
    (tmp_path / "two.yaml").write_text(GRID.format(model=model))
    arguments = command.format(model=model, folder=tmp_path).split()
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 2
    assert "transformer_2 (WanTransformer3DModel), boundary_ratio 0.875" in " ".join(result.output.split())
    assert not [*tmp_path.rglob("*.safetensors"), *tmp_path.rglob("config.yaml")], "nothing was begun"


@pytest.mark.parametrize(
    "index",
    [
        WAN_22 | {"transformer_2": [None, None], "boundary_ratio": None},  # Wan 2.1 as it is saved by now
        {"image_encoder": ["transformers", "CLIPVisionModel"], "image_processor": ["transformers", "C"]},
        {"text_encoder_2": ["transformers", "CLIPTextModel"], "feature_extractor": ["transformers", "S"]},
    ],
)
def test_pipelines_of_known_parts_are_taken(index: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    require_used(tmp_path)
    require_used(tmp_path / "nothing")
