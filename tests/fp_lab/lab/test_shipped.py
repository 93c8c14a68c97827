"""What the shipped codec and base can do, on videos of the world that they were not trained on."""

import json
import math

import pytest
import torch
from torch import Tensor

from fp_data.latents import to_frames, to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codec import WEIGHTS_FILE, Codec, file_sha256
from fp_lab.lab.base_origin import PROVENANCE_FILE
from fp_lab.lab.pretrain import CURVE_FILE, codec_fidelity
from fp_lab.lab.truth import world_truths
from fp_lab.model import FramePackModel
from fp_lab.recipe import parse
from fp_lab.rollout import SamplingConfig, rollout
from fp_lab.shipped import shipped_folder
from fp_lab.solvers import SolverConfig
from fp_metrics import About, score_video

WORLD = WorldConfig(frames=28)
SEEDS = range(8)


@pytest.fixture(scope="module")
def true_latents() -> Tensor:
    with torch.no_grad():
        return Codec.load().encode(to_pixels(render(WORLD, SEEDS).frames))


def scores(latents: Tensor) -> dict[str, float]:
    """Mean over videos and the last two sections."""
    with torch.no_grad():
        frames = to_frames(Codec.load().decode(latents)).movedim(-1, 2).float() / 255
    found: dict[str, list[float]] = {}
    for video, truth in zip(frames, world_truths(WORLD, SEEDS), strict=True):
        scored = score_video(iter(video), families=("world",), length=WORLD.frames, about=About(truth=truth))
        for row in scored.to_rows():
            if row["frame"] >= 10 and math.isfinite(row["value"]):
                found.setdefault(row["score"], []).append(row["value"])
    return {score: sum(values) / len(values) for score, values in found.items()}


def generated(model: FramePackModel, recipe: str, latents: Tensor, history: Tensor | None) -> Tensor:
    made = latents.clone()
    for rolled in rollout(
        model,
        parse(recipe),
        latents[:, :, :1],
        frames=WORLD.frames,
        captions=render(WORLD, SEEDS).captions,
        seeds=SEEDS,
        sampling=SamplingConfig(SolverConfig("euler", 8)),
        history=history,
    ):
        made[:, :, list(rolled.section.targets)] = rolled.latents
    return made


def test_objects_keep_shape_and_look_over_three_sections(true_latents: Tensor) -> None:
    model = FramePackModel.load().eval()
    forced = scores(generated(model, "td_f3k1_g9", true_latents, true_latents))
    free = scores(generated(model, "td_f3k1_g9", true_latents, None))
    alone = scores(generated(model, "g9", true_latents, None))
    for score, from_true, from_own in (("anatomy", 0.75, 0.6), ("identity", 0.9, 0.8)):
        assert forced[score] > from_true, "sections made from true history"
        assert free[score] > from_own, "sections made from its own history"
        assert forced[score] > free[score] > alone[score] + 0.1, "history matters, and true history more"


def test_the_codec_resolves_the_world() -> None:
    codec = Codec.load()
    measured = codec_fidelity(codec)["plain"]
    assert measured["psnr_db"] >= 32
    assert measured["psnr_inside_masks_db"] >= 28


@pytest.mark.parametrize("name", ["codec", "base"])
def test_provenance_belongs_to_the_weights(name: str) -> None:
    folder = shipped_folder(name)
    record = json.loads((folder / PROVENANCE_FILE).read_text())
    assert record["sha256"] == file_sha256(folder / WEIGHTS_FILE)
    assert record["command"].startswith("fp-lab ")
    assert record["start"]["command"].startswith("fp-lab ")
    curve = (folder / CURVE_FILE).read_text().splitlines()
    last = record["config"].get("steps") or record["config"]["training"]["steps"]
    assert int(curve[-1].split(",")[0]) == last
