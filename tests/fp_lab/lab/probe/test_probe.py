"""The probe: known damage is what it says, the same seed gives the same bits, the shipped one is good."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms.functional import gaussian_blur

from fixtures import tiny_codec
from fp_data.worlds import WorldConfig, render
from fp_lab.checks.finite import NotFinite
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.files.locking import only_writer
from fp_lab.lab.probe import HeldOutConfig, ProbeRunConfig, fit, measure_probe, train_probe
from fp_lab.lab.probe.damage import blocks, blur, cut_out, moved, scaling, tint, white_noise, with_object
from fp_lab.lab.probe.held_out import held_out_renders, on_renders
from fp_lab.lab.probe.renders import KINDS, known_clarity
from fp_lab.lab.probe.samples import Samples, draw_samples, make_samples
from fp_lab.lab.probe.train import likeness, losses_of
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.world_truth import world_truths
from fp_lab.lab.training.fit_with_curve import CURVE_FILE
from fp_metrics import FAMILIES, About
from fp_metrics.families.probe import held_out
from fp_metrics.networks.probe import (
    PROVENANCE_FILE,
    WEIGHTS_FILE,
    read_probe,
    shipped_probe,
    shipped_provenance,
)

QUICK = ProbeRunConfig(steps=3, batch=16)
LITTLE = HeldOutConfig(renders=64, videos=1, frames=6, generated=0)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return make_samples(list(range(7500, 7564)), Generator().manual_seed(0), Codec.load())


# --- damage


def test_blur_is_gaussian() -> None:
    images = torch.rand(3, 3, 40, 40, generator=Generator().manual_seed(0))
    made = blur(images, torch.tensor([0.0, 1.0, 2.5]))
    torch.testing.assert_close(made[0], images[0])
    for index, sigma in ((1, 1.0), (2, 2.5)):
        expected = gaussian_blur(images[index], [19, 19], [sigma, sigma])
        inside = (..., slice(9, -9), slice(9, -9))  # they differ in what lies beyond the border
        torch.testing.assert_close(made[index][inside], expected[inside], atol=2e-3, rtol=0)


def test_noise_blocks_and_tints_are_as_strong_as_said() -> None:
    flat = torch.full((2, 3, 64, 64), 0.5)
    noise = white_noise(flat, torch.tensor([0.0, 0.1]), Generator().manual_seed(0)) - flat
    assert noise[0].abs().max() == 0
    assert noise[1].std().item() == pytest.approx(0.1, rel=0.03)
    ramp = torch.arange(64.0).expand(1, 3, 64, 64) / 64
    coarse = blocks(ramp, torch.tensor([1.0]))
    assert len(coarse[0, 0, 0].unique()) == 8
    assert coarse[0, 0, 0, :8].mean() == pytest.approx(ramp[0, 0, 0, :8].mean().item())
    washed = tint(ramp, torch.tensor([0.5]), torch.tensor([[0.1, 0.0, 0.0]]))
    torch.testing.assert_close(washed[0, 1], 0.25 + ramp[0, 1] / 2)
    torch.testing.assert_close(washed[0, 0], 0.35 + ramp[0, 0] / 2)


def test_an_object_is_scaled_about_its_centre_and_nothing_else_changes() -> None:
    world = render(WorldConfig(frames=1), range(7600, 7608))
    frames, backgrounds = (x[:, 0].movedim(-1, 1).float() / 255 for x in (world.frames, world.backgrounds))
    masks, centres = world.masks[:, 0].float(), world.positions[:, 0, 0]
    factors = torch.tensor([[0.5, 1.0]]).expand(8, -1)
    made, covered = with_object(frames, backgrounds, masks, scaling(centres, factors, 64))
    ratio = covered.sum((1, 2, 3)) / masks.sum((1, 2, 3))
    np.testing.assert_allclose(ratio.numpy(), 0.5, atol=0.06)
    outside = cut_out(masks).expand(-1, 3, -1, -1) == 0
    torch.testing.assert_close(made[outside], backgrounds[outside], atol=0.02, rtol=0)
    still, covers = with_object(frames, backgrounds, masks, torch.zeros(8, 2, 64, 64))
    assert torch.equal(covers, masks)
    assert (still - frames).abs().mean() < 2e-3


def test_shifts_point_to_where_pixels_come_from() -> None:
    image = torch.rand(1, 1, 8, 8, generator=Generator().manual_seed(0))
    right = torch.tensor([1.0, 0.0])[None, :, None, None].expand(1, 2, 8, 8)
    torch.testing.assert_close(moved(image, right)[..., :-1], image[..., 1:])


def test_samples_know_what_was_done_to_them(samples: Samples) -> None:
    at = {kind: slice(4 * index, 4 * index + 4) for index, kind in enumerate(KINDS)}
    assert (samples.masks[at["missing"]] == 0).all()
    assert (samples.visible[at["missing"]] == 0).all()
    assert (samples.named[at["missing"]] == 0).all()
    assert (samples.well_formed[at["moved"]] > 0.8).all()
    for kind in ("squashed", "shrunken", "broken", "merged"):
        assert (samples.well_formed[at[kind]] < 0.85).all(), kind
    assert samples.visible[at["shrunken"]].max() < 0.6
    whole = samples.centred > 0
    assert 15 <= int(whole.sum()) <= 40
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for slot in whole.nonzero()[:, 0].tolist():
        mask = samples.masks[slot]
        found = torch.stack(((mask * x).sum(), (mask * y).sum())) / mask.sum()
        # a mask that was moved by part of a pixel snaps to whole ones, half a pixel along each axis
        bound = 0.8 if slot in range(at["moved"].start, at["moved"].stop) else 0.5
        assert (found - samples.centres[slot]).norm() < bound, slot
    assert samples.frames.min() >= 0
    assert samples.frames.max() <= 1


def test_known_clarity_is_that_of_the_truth_based_family() -> None:
    truth = world_truths(WorldConfig(frames=1), [7700])[0]
    sharp = truth.frames.movedim(-1, 1).float() / 255
    for damaged in (
        sharp,
        blur(sharp, torch.tensor([1.5])),
        white_noise(sharp, torch.tensor([0.05]), Generator().manual_seed(0)).clamp(0, 1),
    ):
        estimator = FAMILIES["world"]["world/render-sharpness"](About(truth=truth))
        estimator.update(damaged)
        known = float(known_clarity(damaged, sharp).prod())
        # the family takes noise against the bare background, so the object's own pixels widen its spread
        assert known == pytest.approx(estimator.compute().score, abs=0.05)


def test_likeness_counts_colour_texture_and_outline(samples: Samples) -> None:
    pair = {
        "rgb": torch.tensor([[0.9, 0.1, 0.1], [0.9, 0.1, 0.1]]),
        "texture": torch.tensor([1, 1]),
        "shape": torch.tensor([2, 2]),
        "well_formed": torch.tensor([1.0, 1.0]),
    }

    def alike(**changes: Tensor) -> float:
        return float(likeness(replace(samples, **(pair | changes)))[0, 1])

    assert alike() == pytest.approx(1)
    assert alike(texture=torch.tensor([1, 0])) == pytest.approx(2 / 3)
    assert alike(shape=torch.tensor([2, 1])) == pytest.approx(2 / 3)
    assert alike(well_formed=torch.tensor([1.0, 0.4])) == pytest.approx(0.8)
    assert alike(rgb=torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])) == pytest.approx(2 / 3, abs=0.01)


# --- training


def quick(folder: Path, **changes: object) -> str:
    config = replace(QUICK, **changes)  # type: ignore[arg-type]
    return train_probe(config, folder, "fp-lab probe train --steps 3", held_out=LITTLE).sha256


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    first = quick(tmp_path / "one")
    torch.rand(5)
    assert quick(tmp_path / "two") == first
    assert quick(tmp_path / "three", seed=1) != first
    record = json.loads((tmp_path / "one" / PROVENANCE_FILE).read_text())
    assert record["sha256"] == first
    assert record["config"]["steps"] == 3
    assert record["codec_sha256"] == Codec.load().sha256
    assert record["held_out"]["renders"] == 64
    assert "base_sha256" not in record["measured_on"]
    steps = [row.split(",")[0] for row in (tmp_path / "one" / CURVE_FILE).read_text().splitlines()]
    assert steps == ["step", "3"]
    read_probe(tmp_path / "one")


def test_training_leaves_threads_and_global_randomness_alone() -> None:
    threads, drawn = torch.get_num_threads(), torch.random.get_rng_state()
    fit(replace(QUICK, steps=1))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_a_training_that_diverges_stops_at_the_step() -> None:
    with pytest.raises(NotFinite, match=r"step 2: loss .*\bnan"):
        fit(replace(QUICK, learning_rate=float("inf")))


def test_batches_depend_on_seed_and_index_alone() -> None:
    codec = Codec.load()
    torch.rand(3)
    first, again = draw_samples(0, 5, 16, codec), draw_samples(0, 5, 16, codec)
    assert torch.equal(first.frames, again.frames)
    assert not torch.equal(first.frames, draw_samples(0, 6, 16, codec).frames)
    assert not torch.equal(first.frames, draw_samples(1, 5, 16, codec).frames)


def test_a_few_steps_lower_the_losses() -> None:
    codec = Codec.load()
    heard: list[int] = []

    class Listening(Reporter):
        def begin(self, stage: str, total: int) -> None:
            heard.append(total)

        def advance(self, done: int, note: str = "") -> None:
            heard.append(done)

    before, _ = fit(replace(QUICK, steps=1))
    after, curve = fit(replace(QUICK, steps=12, batch=32), Listening())
    assert heard == [12, *range(1, 13)]
    assert [entry[0] for entry in curve] == [12]
    held = make_samples(list(range(7800, 7832)), Generator().manual_seed(0), codec)
    losses = [losses_of(probe.train()(held.frames), held) for probe in (before, after)]
    lower = {name for name in losses[0] if losses[1][name] < losses[0][name]}
    assert {"mask", "colour", "visible", "clarity"} <= lower


def test_only_a_probe_is_replaced(tmp_path: Path) -> None:
    codec = tiny_codec(tmp_path / "codec")
    (codec / PROVENANCE_FILE).write_text(json.dumps({"command": "fp-lab codec train"}))
    kept = (codec / WEIGHTS_FILE).read_bytes()
    with pytest.raises(ValueError, match=r"config\.json, model\.safetensors.*\bprobe"):
        quick(codec)
    assert (codec / WEIGHTS_FILE).read_bytes() == kept
    with pytest.raises(ValueError, match=rf"{WEIGHTS_FILE} .*\bfile"):
        quick(codec / WEIGHTS_FILE)
    first = quick(tmp_path / "probe")
    second = quick(tmp_path / "probe", seed=1)
    record = json.loads((tmp_path / "probe" / PROVENANCE_FILE).read_text())
    assert record["sha256"] == second != first


def test_two_trainings_into_one_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "probe"
    told = rf"probe: process {os.getpid()} on .* writes into it"
    with only_writer(folder), pytest.raises(ValueError, match=told):
        quick(folder)
    assert list(folder.glob("[!.]*")) == []
    assert quick(folder), "its lock is none of the files that a folder may not hold"


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"steps": 0}, r"steps: got 0, expected .*\b1\b"), ({"batch": 24}, r"batch: got 24, expected .*\b16\b")],
)
def test_what_cannot_be_trained_is_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProbeRunConfig(**changes)  # type: ignore[arg-type]


# --- the shipped probe

FLOORS = {
    "shape_accuracy": 0.88,
    "colour_accuracy": 0.93,
    "texture_accuracy": 0.93,
    "presence_accuracy": 0.94,
    "identity_auc": 0.95,
}
CEILINGS = {"well_formed_error": 0.12, "sharpness_error": 0.1, "noise_error": 0.07, "centre_error_px": 0.7}


def test_the_shipped_probe_is_as_good_as_it_says() -> None:
    said = held_out()
    measured = on_renders(shipped_probe(), held_out_renders(128, Codec.load()))
    for name, floor in FLOORS.items():
        assert said[name] >= floor, name
        assert measured[name] == pytest.approx(said[name], abs=0.06), name
    for name, ceiling in CEILINGS.items():
        assert said[name] <= ceiling, name
        assert measured[name] <= ceiling, name


def test_the_shipped_probe_was_made_from_the_shipped_codec() -> None:
    record = shipped_provenance()
    assert record["codec_sha256"] == Codec.load().sha256
    assert record["config"] == {**record["config"], **vars(ProbeRunConfig())}
    assert record["measured_on"].items() >= vars(HeldOutConfig()).items()


AGREEMENT = {"clarity": 0.6, "motion": 0.5, "dynamic": 0.6, "semantic": 0.6, "anatomy": 0.6, "identity": 0.6}
"""On renders damaged as the demo's videos are."""


def test_the_probe_ranks_damage_as_the_truth_does() -> None:
    said = held_out()
    measured = measure_probe(
        shipped_probe(), HeldOutConfig(renders=64, videos=3, frames=12, generated=0), Codec.load()
    )
    for score, least in AGREEMENT.items():
        assert said[f"demo/{score}"] > least, score
        assert measured[f"demo/{score}"] > least - 0.1, score
        assert said[f"damaged/{score}"] > 0.35, score
        assert said[f"generated/{score}"] > 0.35, score
