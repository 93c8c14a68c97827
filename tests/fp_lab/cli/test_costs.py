"""The two commands about cost: what arms cost here, what real models cost elsewhere."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fixtures import tiny_experiment
from fp_lab.backbones.diffusers.presets import MODELS
from fp_lab.cli import app

SETTINGS = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "ffn_dim": 80,
    "text_dim": 24,
    "freq_dim": 16,
}


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)


@pytest.fixture
def tiny_wan(monkeypatch: pytest.MonkeyPatch) -> None:
    wan = MODELS["wan-1.3b"]
    small = replace(wan, name="tiny", settings={**wan.settings, **SETTINGS})
    monkeypatch.setitem(MODELS, "tiny", small)


@pytest.mark.usefixtures("tiny_wan")
def test_plan_prints_tables_and_json() -> None:
    size = ("tiny", "--pixels", "64x96", "--frames", "20", "--cards", "2", "--memory-gb", "0.01")
    code, text = invoke("plan", *size)
    assert code == 0
    assert "packed section" in text
    assert "2 cards" in text
    code, text = invoke("plan", *size, "--json", "--method", "full", "--no-checkpointing")
    (made,) = json.loads(text)
    assert code == 0
    assert made["training"] == {"method": "full", "sharding": "fsdp", "checkpointing": False, "rank": 16}
    assert made["full_tokens"] == {"noisy": 20 * 4 * 6, "context": 0}
    assert made["batch_ratio"] == made["chosen"]["packed"] / made["chosen"]["full"]
    assert len(made["fits"]) == 2 * 4 * 2 * 2


def test_a_wrong_model_costs_a_line() -> None:
    code, text = invoke("plan", "wan-13b")
    assert code == 2
    assert "did you mean" in text


def test_efficiency_of_a_grid(tmp_path: Path) -> None:
    tiny_experiment(tmp_path)
    grid = tmp_path / "grid.yaml"
    grid.write_text("base: tiny\narms: [{recipe: td_f2k2f1k1_g3}]\n", encoding="utf-8")
    code, text = invoke(
        "efficiency", str(grid), "training.batch=3", "--rounds", "1", "--out", str(tmp_path / "out")
    )
    assert code == 0
    assert "What packing saves" in text
    read = json.loads((tmp_path / "out" / "efficiency.json").read_text(encoding="utf-8"))
    assert read["batch"] == 3
    assert [arm["name"] for arm in read["arms"]] == ["td_f2k2f1k1_g3", "full_history", "full_sequence"]


def test_efficiency_of_nothing_known_costs_a_line() -> None:
    code, text = invoke("efficiency", "demmo")
    assert code == 2
    assert "expected a grid such as demo" in text
