"""The alternative architectures: what they see, what they cost, and that each trains and samples."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fixtures import tiny_config
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.baselines import BASELINES, PACKED, WINDOW, baseline
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.experiments import find_experiment
from fp_lab.lab.materials.models import build_system
from fp_lab.model import FramePackModel
from fp_lab.packing.packer import kernels_of
from fp_lab.packing.token_counts import level_tokens, section_tokens
from fp_lab.recipe import Recipe, parse
from fp_lab.sampling.rollout import rollout
from fp_lab.training.framepack_system import step_generator

CONTROLS = ("full_history", "sliding_window", "no_history")


def made(name: str, protocol: str = "paper", **size: Any) -> Any:
    return baseline(name, protocol, **{"frames": 64, "rows": 60, "columns": 104, **size})


def tokens_of(recipe: Recipe, rows: int, columns: int) -> int:
    """Of a full context and the section."""
    return sum(level_tokens(recipe, rows, columns)) + section_tokens(recipe, rows, columns)


def test_every_architecture_of_the_papers_table_has_a_name() -> None:
    table = yaml.safe_load(find_experiment("reference/paper_tables").read_text())["table2"]
    rows = [row["name"] for row in table]
    packed = [name for name in rows if name not in BASELINES]
    assert [str(parse(name)) for name in packed] == packed
    assert set(BASELINES) - set(rows) == set(CONTROLS)


def test_the_papers_window_has_33_frames_about_half_of_them_history() -> None:
    for name in set(BASELINES) - {"full_history", "no_history"}:
        recipe = made(name).recipe
        assert sum(level.frames for level in recipe.levels) + recipe.section == WINDOW
    assert str(made("noisy_history_test0.1").recipe) == "f16k1_g17"
    assert tokens_of(made("sliding_window").recipe, 60, 104) == 51_480


@pytest.mark.parametrize(("rows", "columns"), [(60, 104), (48, 80), (8, 8)])
def test_equal_tokens_cost_what_the_packed_arm_costs(rows: int, columns: int) -> None:
    packed, frame = tokens_of(parse(PACKED), rows, columns), rows * columns // 4
    if rows == 60:
        assert packed == 17_966
    for name in set(BASELINES) - {"full_history", "no_history"}:
        recipe = made(name, "equal_tokens", rows=rows, columns=columns).recipe
        assert 0 <= packed - tokens_of(recipe, rows, columns) < frame
    assert str(made("no_history", "equal_tokens").recipe) == "g9"
    assert str(made("full_history", "equal_tokens").recipe) == "f63k1_g9"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match=r"baseline: got 'causal_atention'.*'causal_attention'\?"):
        made("causal_atention")
    with pytest.raises(ValueError, match=r"protocol: got 'papers', expected .*paper, equal_tokens"):
        made("full_history", "papers")
    with pytest.raises(ValueError, match=r"like: got ta_f4k2_g9, .*\bbound\b"):
        made("sliding_window", "equal_tokens", packed="ta_f4k2_g9")


def config_of(name: str, protocol: str, folder: Path) -> ExperimentConfig:
    small = ["data.world.frames=40", "evaluation.frames=40", "sampling.solver.steps=1"]
    return tiny_config(folder, [f"baseline={name}", f"protocol={protocol}", *small])


@pytest.mark.parametrize("protocol", ["paper", "equal_tokens"])
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_trains_and_samples(name: str, protocol: str, tmp_path: Path) -> None:
    config = config_of(name, protocol, tmp_path)
    assert (config.label, config.protocol) == (name, protocol)
    recipe = config.parsed_recipe
    torch.manual_seed(0)
    backbone = TinyDiT(TinyDiTConfig(channels=4, width=32, depth=2, head_width=16))
    torch.nn.init.normal_(backbone.final.weight, std=0.3)
    model = FramePackModel(backbone, kernels_of(recipe), "clean", config.context)
    latents = torch.randn(2, 4, 40, 2, 2)
    system = build_system(config, model)
    loss = system.section_loss({"latents": latents, "captions": ["a", "b"]}, step_generator(0, 0, 3))
    loss.backward()
    assert loss.isfinite()
    sections = rollout(
        model.eval(),
        recipe,
        latents[:, :, :1],
        frames=40,
        captions=["a", "b"],
        seeds=[0, 1],
        sampling=config.sampling,
    )
    video = torch.zeros_like(latents)
    for section in sections:
        video[:, :, list(section.section.targets)] = section.latents
    assert video.isfinite().all()
    assert (video[:, :, 1:].abs().amax((1, 3, 4)) > 0).all()


def test_a_later_setting_changes_a_baseline_and_a_recipe_beside_it_is_refused(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, ["baseline=noisy_history_test0.1", "sampling.history_level=0.3"])
    assert (config.recipe, config.sampling.history_level) == ("f16k1_g17", 0.3)
    assert config.context.timestep == "level"
    with pytest.raises(ValueError, match=r"recipe .*\bbaseline, expected"):
        tiny_config(tmp_path, ["baseline=no_history", "recipe=g9"])
    with pytest.raises(
        ValueError, match=r"context\.timestep: got 'same' with objective\.history\.level 'random'"
    ):
        tiny_config(tmp_path, ["baseline=noisy_history_test0.1", "context.timestep=same"])
