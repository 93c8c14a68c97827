"""What the shipped codec and base can do, on videos of the worlds that they were not trained on."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fp_lab.codecs.tiny import Codec
from fp_lab.lab.provenance.base_origin import provenance_of
from fp_lab.lab.scoring.base_quality import Judge
from fp_lab.lab.training.fit_with_curve import CURVE_FILE
from fp_lab.lab.training.train_codec import codec_fidelity
from fp_lab.model import FramePackModel
from fp_lab.weights.files import WEIGHTS_FILE, file_sha256
from fp_lab.weights.shipped import shipped_folder

# Held, somewhat below what four videos showed: memory is what is wanted of a base, motion and shape are not
# (docs/models.md).
SPEED_REACHED = 0.35
SHAPE_FROM_TRUE_HISTORY, SHAPE_FROM_OWN_HISTORY = 0.65, 0.5
LOOK_AFTER_64_FRAMES = 0.55
RECALL_GAIN_DB = 6.0
TOLD_RIGHT = 0.75  # three of four
HISTORY_GAIN = 0.1
"""Of shape and of look: sections from their own history over sections without any."""
FIDELITY_DB = {
    "plain": (36.0, 30.0),
    "occlusion": (34.0, 28.0),
    "curtain": (32.0, 29.0),
    "walk": (32.0, 29.0),
}
"""PSNR of the codec's round trip, all over and inside the objects."""

SEEDS = (3, 13, 14, 15)
"""The curtain is fast in these, and one object of each is hidden no longer than 19 frames reach."""
ACROSS = range(16, 25)
"""Gaps of what a fast curtain hides before the last of three sections, and shows again in it."""
SHAPE, LOOK = "world/shape-iou", "world/look-against-first"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge(FramePackModel.load().eval(), Codec.load(), SEEDS, steps=6)


def test_objects_move_and_keep_shape_and_look(judge: Judge) -> None:
    three_sections = range(10, 28)
    own, far = judge.moving("td_f16k4f2k2f1k1_g9", 64, three_sections, range(55, 64), true_history=False)
    (true,) = judge.moving("td_f16k4f2k2f1k1_g9", 28, three_sections, true_history=True)
    (alone,) = judge.moving("g9", 28, three_sections, true_history=False)
    assert own["world/speed-reached"] > SPEED_REACHED
    assert true[SHAPE] > SHAPE_FROM_TRUE_HISTORY
    assert own[SHAPE] > SHAPE_FROM_OWN_HISTORY
    assert far[LOOK] > LOOK_AFTER_64_FRAMES
    for estimator in (SHAPE, LOOK):
        assert true[estimator] > own[estimator] > alone[estimator] + HISTORY_GAIN, estimator


def test_what_was_behind_the_curtain_comes_back_where_history_reaches(judge: Judge) -> None:
    many, one = (judge.recalled(r, 28, ACROSS, true_history=True) for r in ("td_f19k1_g9", "td_f1k1_g9"))
    assert many.psnr - one.psnr > RECALL_GAIN_DB
    assert many.told >= TOLD_RIGHT


def test_the_codec_resolves_the_worlds() -> None:
    measured = codec_fidelity(Codec.load())
    for variant, (everywhere, inside) in FIDELITY_DB.items():
        assert measured[variant]["psnr_db"] >= everywhere, variant
        assert measured[variant]["psnr_inside_masks_db"] >= inside, variant
    said = provenance_of(shipped_folder("codec"))["measured"]
    assert measured == {variant: pytest.approx(found, abs=0.1) for variant, found in said.items()}


def records(name: str) -> Iterator[Mapping[str, Any]]:
    """Provenance of a model, then of the one that it started from, and so on."""
    record: Mapping[str, Any] | None = provenance_of(shipped_folder(name))
    while record:
        yield record
        record = record.get("start")


@pytest.mark.parametrize("name", ["codec", "base"])
def test_provenance_belongs_to_the_weights(name: str) -> None:
    folder = shipped_folder(name)
    record, *_ = made = list(records(name))
    assert record["sha256"] == file_sha256(folder / WEIGHTS_FILE)
    curve = (folder / CURVE_FILE).read_text().splitlines()
    last = record["config"].get("steps") or record["config"]["training"]["steps"]
    assert int(curve[-1].split(",")[0]) == last
    for each in made:
        assert each["command"].startswith("fp-lab "), "the record of each start is kept"
        assert not any(Path(word).is_absolute() for word in each["command"].split()), "a place of one machine"
        assert each["config"]["start"] is None or each["start"]


def test_the_base_was_trained_on_latents_of_the_shipped_codec() -> None:
    assert provenance_of(shipped_folder("base"))["encoder_sha256"] == Codec.load().encoder_sha256
