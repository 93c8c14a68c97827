"""The family of learned estimators as a whole, on a real clip: streaming, drift, what is missing."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fp_data.get_clips import get_clips
from fp_data.read_video import read_video
from fp_metrics import FAMILIES, SCORES, About, protocol, score_video, segment
from fp_metrics.suite import VideoScores
from fp_metrics.weights_catalogue import ARTIFACTS

OFFLINE = FAMILIES["offline"]
LENGTH = 40
ABOUT = About(25, "a man talks in a car")


@pytest.fixture(scope="module")
def clip(offline_weights: None) -> Tensor:
    """A man's face, enlarged until NIQE takes it: float32 ``(40, 3, 194, 236)``."""
    path = next(path for path in get_clips() if path.stem == "carphone_pristine")
    frames = [cv2.resize(frame, (236, 194)) for frame in read_video(path, 0, LENGTH, size=(144, 176))]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1).to(torch.float32) / 255


@pytest.fixture(scope="module")
def whole(clip: Tensor) -> VideoScores:
    return score_video([clip], length=LENGTH, families=("offline",), about=ABOUT)


def test_every_score_is_learned_but_the_aesthetic(whole: VideoScores) -> None:
    assert [score for score in SCORES if score in {kind.score for kind in OFFLINE.values()}] == list(SCORES)
    for name, series in whole.series.items():
        assert np.isfinite(series.score), (name, series.reason)
    learned = {kind.score for kind in OFFLINE.values() if kind.artifacts()}
    assert learned == set(SCORES) - {"aesthetic", "dynamic"}  # DIS flow is published, not learned
    assert all("hand-made" in name for name, kind in OFFLINE.items() if kind.score == "aesthetic")


def test_chunks_of_any_size_give_the_same_bits(clip: Tensor, whole: VideoScores) -> None:
    def uneven() -> Iterator[Tensor]:
        yield clip[0]
        yield from clip[1:].split(11)

    streamed = score_video(uneven(), length=LENGTH, families=("offline",), about=ABOUT)
    for name, series in whole.series.items():
        np.testing.assert_array_equal(streamed.series[name].values, series.values, err_msg=name)
        np.testing.assert_array_equal(streamed.series[name].positions, series.positions)
        np.testing.assert_array_equal(streamed.drift[name].signed, whole.drift[name].signed)


@pytest.mark.parametrize("name", ["offline/conse-proxy", "offline/feature-to-first", "offline/niqe"])
def test_another_batch_size_changes_no_more_than_rounding(
    name: str, clip: Tensor, whole: VideoScores
) -> None:
    estimator = OFFLINE[name](ABOUT)
    for frame in clip[:17]:
        estimator.update(frame[None])
    positions = estimator.compute().positions
    known = whole.series[name]
    expected = dict(zip(known.positions.tolist(), known.values.tolist(), strict=True))
    shared = [position for position in positions.tolist() if position in expected]
    assert len(shared) >= 2
    values = dict(zip(positions.tolist(), estimator.compute().values.tolist(), strict=True))
    for position in shared:
        np.testing.assert_allclose(values[position], expected[position], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in OFFLINE if name != "offline/rife-middle-frame"])
def test_drift_compares_what_the_segments_get_alone(name: str, clip: Tensor, whole: VideoScores) -> None:
    part = segment(LENGTH)
    for side, score in ((part.start, whole.drift[name].start), (part.end, whole.drift[name].end)):
        alone = OFFLINE[name](ABOUT)
        alone.update(clip[list(side)], side)
        np.testing.assert_allclose(alone.compute().score, score, atol=1e-5, rtol=1e-5)


def test_the_protocol_names_every_weight_by_its_sha256() -> None:
    described = protocol(["offline"])["estimators"]
    assert described["offline/rife-middle-frame"]["weights"] == {"rife-v4": ARTIFACTS["rife-v4"].sha256}
    assert set(described["offline/conse-proxy"]["weights"]) == {
        "efficientnet-lite0",
        "minilm-l6",
        "minilm-l6-tokenizer",
    }
    assert described["offline/landmark-confidence"]["every"] > 1


def test_an_extra_that_is_missing_leaves_the_others(clip: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = OFFLINE["offline/dlib-face-to-first"]
    why = "needs dlib: pip install -e '.[faces]'"
    monkeypatch.setattr(kind, "unavailable", classmethod(lambda cls: why))
    found = score_video([clip[:24]], length=24, families=("offline",), metrics=["identity"], about=ABOUT)
    assert found.series["offline/dlib-face-to-first"].reason == why
    assert found.drift["offline/dlib-face-to-first"].reason == why
    assert np.isfinite(found.series["offline/feature-to-first"].score)


def test_frames_too_small_for_one_estimator_leave_the_others(clip: Tensor) -> None:
    small = clip[:24, :, :12, :40]
    found = score_video(
        [small], length=24, families=("offline",), metrics=["aesthetic", "dynamic"], about=ABOUT
    )
    reason = found.series["offline/dis-top5-flow"].reason
    assert reason is not None
    assert "12x40" in reason
    assert np.isfinite(found.series["offline/hand-made-colour-contrast"].score)
