"""What is kept of every training step, against figures worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from fixtures import tiny_config
from fp_data.latents import LatentBatches
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.runtime.reporter import Reporter, Step
from fp_lab.lab.training.train import train
from fp_lab.packing.token_counts import tokens_per_sample
from fp_lab.training.framepack_system import step_generator

BINS = ["loss_sigma_0_25", "loss_sigma_25_50", "loss_sigma_50_75", "loss_sigma_75_100"]


class Interrupting(Reporter):
    """Stops after a training step, as a kill would."""

    def __init__(self, after: int) -> None:
        self.after = after

    def trained(self, step: Step) -> None:
        if step.step == self.after:
            raise RuntimeError("killed")


@pytest.fixture(scope="module")
def config(folder: Path) -> ExperimentConfig:
    return tiny_config(folder, ["training.batch=4"])


@pytest.fixture(scope="module")
def table(folder: Path, config: ExperimentConfig, materials: Materials) -> pd.DataFrame:
    place = RunFolder(folder / "whole")
    train(place, config, "key", materials, Reporter())
    return pd.read_parquet(place.loss)


def test_the_first_step_is_what_a_plain_loop_finds(
    table: pd.DataFrame, config: ExperimentConfig, materials: Materials
) -> None:
    system = build_system(config, build_model(config, materials.codec(config).channels))
    batch = LatentBatches(materials.training(config), 4, config.seed).batch(0)
    loss = system.section_loss(batch, step_generator(config.seed, 0, 0))  # type: ignore[arg-type]
    loss.backward()
    gradients = [p.grad for p in system.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    first = table.iloc[0]
    assert first["loss"] == loss.item()
    assert first["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert norm > config.training.gradient_clip, "the norm before clipping, where clipping is at work"
    bins = system.loss_bins
    means = [s / n if n else math.nan for s, n in zip(bins.sums.tolist(), bins.counts.tolist(), strict=True)]
    assert first[BINS].tolist() == pytest.approx(means, nan_ok=True)
    assert float(bins.sums.sum()) / 4 == pytest.approx(loss.item())


def test_a_bin_that_a_batch_leaves_out_is_undefined(table: pd.DataFrame) -> None:
    assert table[BINS].isna().any(axis=None)
    assert table[BINS].notna().any(axis=1).all()


def test_throughput_is_tokens_over_wall_time(table: pd.DataFrame, config: ExperimentConfig) -> None:
    tokens = 4 * tokens_per_sample(config.parsed_recipe, config.sampling.fill, 10, 4, 4)
    assert (table["tokens_per_second"] * table["step_seconds"]).to_numpy() == pytest.approx(tokens)


def test_clipping_at_the_norm_is_lightnings(config: ExperimentConfig, materials: Materials) -> None:
    system = build_system(config, build_model(config, materials.codec(config).channels))
    system.trainer = type("Alone", (), {"model": system, "precision_plugin": None})()  # type: ignore[assignment]
    for parameter in system.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for parameter in system.parameters())
    optimizer = system.configure_optimizers()["optimizer"]  # type: ignore[index, typeddict-item]
    system.configure_gradient_clipping(optimizer, 0.5, "norm")
    assert float(system.gradient_norm) == pytest.approx(math.sqrt(count), rel=1e-5)
    clipped = sum(float(p.grad.square().sum()) for p in system.parameters() if p.grad is not None)
    assert math.sqrt(clipped) == pytest.approx(0.5, rel=1e-4)


def test_all_figures_go_on_after_an_interruption(
    folder: Path, config: ExperimentConfig, materials: Materials, table: pd.DataFrame
) -> None:
    place = RunFolder(folder / "killed")
    with pytest.raises(RuntimeError, match="killed"):
        train(place, config, "key", materials, Interrupting(after=3))
    train(place, config, "key", materials, Reporter())
    timed = ["step_seconds", "tokens_per_second"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(place.loss).drop(columns=timed), table.drop(columns=timed), check_exact=True
    )


def test_windows_of_blocks_are_binned_too(folder: Path, materials: Materials) -> None:
    config = tiny_config(folder, ["baseline=causal_attention", "protocol=equal_tokens", "training.batch=4"])
    place = RunFolder(folder / "causal")
    train(place, replace(config, training=replace(config.training, steps=2)), "key", materials, Reporter())
    found = pd.read_parquet(place.loss)
    assert found[BINS].notna().any(axis=1).all()
    assert found["gradient_norm"].gt(0).all()
