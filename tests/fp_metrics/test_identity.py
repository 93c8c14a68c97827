"""Identity against the first frame: by face (dlib) and by a general feature."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from fixtures import real_clip
from fp_data.read_video import read_video
from fp_metrics import Series
from fp_metrics.families.offline.identity import DlibFaceToFirst, Faces, FeatureToFirst, ToFirst
from fp_metrics.networks import faces
from fp_metrics.weights import weights_path

pytestmark = pytest.mark.usefixtures("offline_weights")


@pytest.fixture(scope="module")
def phone() -> Tensor:
    """A man in a car, 176x144, 41 frames."""
    pixels = list(read_video(real_clip("carphone_pristine.mp4"), stop=41, size=(144, 176)))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def astronaut() -> Tensor:
    """Another person, 512x512."""
    return torch.from_numpy(skimage.data.astronaut().copy()).permute(2, 0, 1).float() / 255


def small(picture: Tensor) -> Tensor:
    """Face and shoulders, as large as the clip."""
    return F.interpolate(picture[None, :, :240, 80:373], size=(144, 176), mode="area")[0]


def measured(kind: type[ToFirst], frames: Tensor) -> Series:
    estimator = kind()
    estimator.update(frames)
    return estimator.compute()


def swapped(phone: Tensor, astronaut: Tensor) -> Tensor:
    """Another person from frame 20 on."""
    return torch.cat((phone[:20], small(astronaut).expand(21, -1, -1, -1)))


def test_one_person_is_near_and_another_is_far(phone: Tensor, astronaut: Tensor) -> None:
    """Published threshold: 0.6."""
    man, later, woman = (faces.embed_single_face(frame) for frame in (phone[0], phone[40], astronaut))
    assert man is not None
    assert later is not None
    assert woman is not None
    assert float((man - later).norm()) < 0.5
    assert float((man - woman).norm()) == pytest.approx(0.869, abs=0.02)


def test_a_face_equals_dlib_used_by_hand(astronaut: Tensor) -> None:
    """Without the scaling, by dlib's other interface; the same face in another size is a little different."""
    import dlib

    pixels = skimage.data.astronaut()
    (box,) = dlib.get_frontal_face_detector()(pixels)
    landmarks = dlib.shape_predictor(str(weights_path("dlib-face-landmarks-5")))(pixels, box)
    model = dlib.face_recognition_model_v1(str(weights_path("dlib-face-embedding")))
    expected = torch.tensor(np.array(model.compute_face_descriptor(pixels, landmarks)), dtype=torch.float32)
    ours = faces.embed_single_face(astronaut)
    assert ours is not None
    assert float((ours - expected).norm()) < 0.2


def test_no_face_and_two_faces_have_no_embedding(phone: Tensor) -> None:
    assert faces.embed_single_face(torch.full((3, 64, 64), 0.5)) is None
    assert faces.embed_single_face(torch.cat((phone[0], phone[0]), dim=2)) is None


def test_the_likeness_reads_one_half_at_the_threshold() -> None:
    origin, estimator = torch.zeros(128), DlibFaceToFirst()

    def at(distance: float) -> float:
        return estimator.likeness(origin, F.one_hot(torch.tensor(5), 128) * distance)

    assert at(0) == 1
    assert at(faces.SAME_PERSON) == pytest.approx(0.5)
    assert at(0.3) == pytest.approx(0.75)
    assert at(2) == 0


def test_a_swapped_face_is_seen(phone: Tensor, astronaut: Tensor) -> None:
    before, after = measured(DlibFaceToFirst, phone), measured(DlibFaceToFirst, swapped(phone, astronaut))
    assert before.positions.tolist() == list(range(0, 41, 4))
    assert before.values[0] == 1
    assert np.nanmin(before.values) > 0.5
    assert np.nanmax(after.values[5:]) < 0.35
    assert after.coverage == 1
    assert after.score == pytest.approx(np.nanmean(after.values[1:]))  # the first is not compared with itself


def test_the_first_face_is_the_reference(phone: Tensor) -> None:
    late = measured(DlibFaceToFirst, torch.cat((torch.zeros(8, 3, 144, 176), phone[:17])))
    np.testing.assert_array_equal(np.isnan(late.values), [True, True] + [False] * 5)
    np.testing.assert_array_equal(late.values[2:], measured(DlibFaceToFirst, phone[:21]).values[:5])
    assert late.coverage == pytest.approx(5 / 7)


@pytest.mark.parametrize("with_face", [0, 1])
def test_without_two_faces_there_is_a_reason(with_face: int, phone: Tensor) -> None:
    video = torch.zeros(21, 3, 144, 176)
    video[:with_face] = phone[:with_face]
    series = measured(DlibFaceToFirst, video)
    assert np.isnan(series.score)
    assert series.reason == (
        "no face: needs exactly one frontal face in at least two of the looked-at frames"
    )
    assert series.coverage == pytest.approx(with_face / 6)


def test_too_few_frames_are_undefined() -> None:
    for kind, least in ((DlibFaceToFirst, 21), (FeatureToFirst, 5)):
        series = measured(kind, torch.zeros(least - 1, 3, 32, 32))
        assert series.reason == f"needs at least {least} frame(s), got {least - 1}"
        assert np.isnan(series.score)
    assert measured(FeatureToFirst, torch.zeros(5, 3, 32, 32)).score == pytest.approx(1, abs=1e-6)


def test_without_dlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DlibFaceToFirst.unavailable() is None
    monkeypatch.setitem(sys.modules, "dlib", None)
    reason = DlibFaceToFirst.unavailable()
    assert reason is not None
    assert "pip install -e '.[faces]'" in reason
    with pytest.raises(ImportError, match=r"pip install -e '\.\[faces\]'"):
        faces.load_faces.__wrapped__()
    assert FeatureToFirst.unavailable() is None


DEGRADED: dict[str, Callable[[Tensor], Tensor]] = {
    "blur": lambda frames: gaussian_blur(frames, [9, 9], [1.4, 1.4]),
    "noise": lambda frames: (
        frames + 0.05 * torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    ).clamp(0, 1),
    "darker": lambda frames: 0.7 * frames,
}


def test_another_scene_lowers_the_feature_more_than_a_worse_picture(phone: Tensor, astronaut: Tensor) -> None:
    steady = measured(FeatureToFirst, phone).score
    assert steady > 0.9
    worse = {
        name: measured(FeatureToFirst, torch.cat((phone[:4], worsen(phone[4:])))).score
        for name, worsen in DEGRADED.items()
    }
    other = measured(FeatureToFirst, torch.cat((phone[:4], small(astronaut).expand(37, -1, -1, -1)))).score
    assert all(other + 0.2 < score < steady for score in worse.values()), (other, worse, steady)


def test_the_feature_is_compared_by_its_angle() -> None:
    estimator = FeatureToFirst()
    first = torch.zeros(1, 1280)
    first[0, :2] = torch.tensor([3.0, 4.0])
    other = torch.zeros(1, 1280)
    other[0, 1] = 2.0
    assert estimator.likeness(first, other) == pytest.approx(0.8)


@pytest.mark.parametrize("kind", [FeatureToFirst, DlibFaceToFirst])
def test_streaming_reset_and_segments(kind: type[ToFirst], phone: Tensor, astronaut: Tensor) -> None:
    video = swapped(phone, astronaut)
    expected = measured(kind, video)
    estimator = kind()
    for chunk in video.split(3):
        estimator.update(chunk)
    np.testing.assert_allclose(estimator.compute().values, expected.values, rtol=0, atol=1e-5)
    estimator.reset()
    estimator.update(video[20:])  # alone, the other person is the first
    alone = estimator.compute()
    assert alone.positions.tolist() == [0, 4, 8, 12, 16, 20]
    assert alone.score == pytest.approx(1, abs=1e-4)
    assert not kind.local


def test_nothing_is_loaded_before_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        pytest.fail("loaded")

    monkeypatch.setattr(faces, "load_faces", refuse)
    DlibFaceToFirst()
    assert Faces.weights == ("dlib-face-landmarks-5", "dlib-face-embedding")
