"""Structures of the method through all stages of a run: trained, sampled, scored, and generated from."""

import json
from pathlib import Path
from statistics import fmean

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from fixtures import tiny_config
from fp_data.buckets import Bucket
from fp_data.latents import to_frames
from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.lab.config import load, to_yaml
from fp_lab.lab.files.experiments import find_experiment
from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.files.video_batch import GIVEN, Videos
from fp_lab.lab.grids.grid import load_grid
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model
from fp_lab.lab.planning.flops import at_equal_compute, forward_flops, plan_flops
from fp_lab.lab.runs.run import run
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.sampling.generate import generate
from fp_lab.lab.sampling.load_model import load_model
from fp_lab.lab.sampling.openings import Opening, opening_from_seed
from fp_lab.lab.scoring.noise_floor import prepare_truth
from fp_lab.model import FramePackModel
from fp_lab.packing.codebook import codebook_stats
from fp_lab.recipe import parse

ARMS = {
    "discrete": ["recipe=td_f2k2f1k1_g3+D5"],
    "planned": ["recipe=f2k2f1k1_x_g3_x_f1k1_x_f1k1"],
    "tails": ["recipe=f1k1_x_g3_f1k1f2k2_tc"],
    "isolated": ["recipe=ta_f2k2f1k1_g3", "context.attention=isolated", "context.timestep=zero"],
    "importance": ["recipe=td_f2k2f1k1_g3", "context.importance.kind=hybrid", "context.amplify=true"],
    "causal": ["baseline=causal_attention", "protocol=equal_tokens"],
    "from_text": ["objective.given=[0]", "evaluation.given=0"],
    "from_clips": ["recipe=f1k1_x_g3_f1k1f2k2_td", "objective.given=[1, 4]", "evaluation.given=4"],
    "guided": ["baseline=history_guidance", "protocol=equal_tokens"],
}


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_runs_to_its_scores_and_is_found_again(arm: str, folder: Path, materials: Materials) -> None:
    config = tiny_config(folder, ARMS[arm])
    place = folder / arm / "seed0"
    prepare_truth(folder / "truth", config, materials, Reporter())
    assert run(place, config, materials, Reporter(), truth=folder / "truth") == ["train", "sample", "score"]
    assert run(place, load(place / "config.yaml"), materials, Reporter(), truth=folder / "truth") == []
    summary = json.loads(RunFolder(place).summary.read_text())
    assert summary["videos"] == 2
    model = FramePackModel.load(RunFolder(place).model)
    assert model.context == config.context
    assert RunFolder(place).codebook.is_file() == (arm == "discrete")


@pytest.mark.parametrize(("arm", "given"), [("from_text", 0), ("from_clips", 4)])
def test_what_is_measured_begins_with_what_is_asked_for(
    arm: str, given: int, folder: Path, materials: Materials
) -> None:
    config = tiny_config(folder, ARMS[arm])
    videos = Videos.load(RunFolder(folder / arm / "seed0").samples / "own.safetensors")
    assert [index for index, made in enumerate(videos.order) if made == GIVEN] == list(range(given))
    codec, truth = materials.codec(config), materials.evaluation(config)
    decoded = to_frames(codec.decode(truth.latents[:1, :, :4]))[0]
    same = [bool((videos.frames[0, frame] == decoded[frame]).all()) for frame in range(4)]
    assert same == [index < given for index in range(4)]


def test_the_codebook_is_stored_with_the_run_and_is_that_of_the_data(
    folder: Path, materials: Materials
) -> None:
    config = tiny_config(folder, ARMS["discrete"])
    fitted = materials.codebook(config)
    assert fitted is not None
    assert materials.codebook(config) is fitted, "fitted once for all arms that share it"
    place = RunFolder(folder / "discrete" / "seed0")
    model = FramePackModel.load(place.model)
    assert model.codebook is not None
    assert torch.equal(model.codebook.centroids, fitted.codebook.centroids), "training leaves it alone"
    stored = json.loads(place.codebook.read_text())
    again = codebook_stats(model.codebook, [materials.training(config).latents])
    assert stored["perplexity"] == pytest.approx(again.perplexity)
    assert stored["usage"] == pytest.approx(again.usage)
    assert 1 < stored["perplexity"] <= 5
    assert materials.codebook(tiny_config(folder)) is None


def test_every_training_video_is_discretised_by_a_nearest_centroid(
    folder: Path, materials: Materials
) -> None:
    config = tiny_config(folder, ARMS["discrete"])
    fitted = materials.codebook(config)
    assert fitted is not None
    model = build_model(config, materials.codec(config).channels, fitted.codebook)
    latents = materials.training(config).latents
    pixels = model.history(latents).movedim(1, -1).flatten(0, -2)
    assert len(pixels.unique(dim=0)) <= 5


def test_a_video_follows_one_prompt_per_endpoint(folder: Path, tmp_path: Path) -> None:
    place = RunFolder(folder / "planned" / "seed0")
    model, config = FramePackModel.load(place.model), load(place.config)
    frame = opening_from_seed(config, 0).frames
    done = list(
        generate(model, config, Opening(frame, ("a red ball", "it rests")), 10, 0, tmp_path / "a.mp4")
    )
    assert (tmp_path / "a.mp4").is_file()
    assert done[-1].done == done[-1].sections == 3
    with pytest.raises(ValueError, match=r"got \[3\] prompts .*expected 1 or 2"):
        list(generate(model, config, Opening(frame, ("a", "b", "c")), 10, 0, tmp_path / "b.mp4"))


def test_a_model_is_generated_from_as_it_was_trained(folder: Path, tmp_path: Path) -> None:
    place = RunFolder(folder / "isolated" / "seed0")
    model, config = FramePackModel.load(place.model), load(place.config, ["context.text=noisy"])
    opening = opening_from_seed(config, 0)
    with pytest.raises(ValueError, match=r"ContextConfig.*\bcontext and recipe\b"):
        next(generate(model, config, opening, 10, 0, tmp_path / "a.mp4"))
    settings = [f"codec.source={folder}/codec", "data.world.size=32"]
    alone = load_model(str(place.model), "ta_f2k2f1k1_g3", None, settings)
    assert alone.config.context == alone.model.context == model.context
    assert alone.sizes == (Bucket(32, 32),)
    discrete = load_model(str(place.model), "ta_f2k2f1k1_g3+D5", None, settings).config
    with pytest.raises(ValueError, match=r"\btrained .*\bno codebook, .*D5\b"):
        next(generate(model, discrete, opening, 10, 0, tmp_path / "a.mp4"))


def test_equal_compute_scales_the_steps() -> None:
    like = "td_f16k4f2k2f1k1_g9"
    config = load("base", ["recipe=td_f16k4f2k2f1k1_g1", f"training.compute_of={like}", "training.steps=100"])
    equal = at_equal_compute(config)
    backbone = FramePackModel.load("shipped").backbone.config
    size = (backbone, 64, 16, 16)
    own, other = (fmean(plan_flops(parse(name), *size)) for name in ("td_f16k4f2k2f1k1_g1", like))
    assert equal.training.steps == round(100 * other / own)
    assert equal.training.steps * own == pytest.approx(100 * other, rel=0.01)
    assert 400 < equal.training.steps < 1760, "64 + 96 tokens against 576 + 96, or their squares"
    assert equal.training.compute_of is None, "a resolved config is not scaled again"
    assert at_equal_compute(equal) == equal
    assert at_equal_compute(load("base")) == load("base")


def test_flops_are_those_of_the_matrix_products() -> None:
    config = TinyDiTConfig(channels=4, width=64, depth=2, head_width=32)
    backbone = TinyDiT(config)
    noisy, text = torch.randn(1, 4, 4, 32, 32), backbone.encode_text(["a"])
    times = torch.arange(4)[None]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(noisy, times, torch.full((1,), 500.0), text)
    tokens = 4 * 16 * 16
    attention = 2 * 4 * tokens**2 * 64  # which the counter does not know on a CPU
    assert forward_flops(config, tokens) == pytest.approx(counter.get_total_flops() + attention, rel=0.05)


@pytest.mark.parametrize(("table", "further"), [("table1", 12), ("table2", 12)])
def test_the_papers_tables_are_grids_with_every_arm(table: str, further: int, tmp_path: Path) -> None:
    table_rows = yaml.safe_load(find_experiment("reference/paper_tables").read_text())[table]
    rows = {row["name"] for row in table_rows}
    grid = load_grid(table)
    names = [arm.name for arm in grid.arms]
    assert rows <= set(names)
    assert len(names) >= len(rows) + further
    assert any(arm.config.parsed_recipe.order == "none" for arm in grid.arms), "the control"
    for arm in grid.arms:
        history = arm.config.objective.history
        assert arm.name not in rows or (history.noise, history.saturation) == (0, 0), arm.name
        (tmp_path / "config.yaml").write_text(to_yaml(arm.config))
        assert load(tmp_path / "config.yaml") == arm.config
