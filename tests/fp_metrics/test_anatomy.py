"""Landmarks against mediapipe's own, and anatomy scores of real people, whole, spoilt and absent."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor

from fixtures import real_clip
from fp_data.read_video import read_video
from fp_metrics.families.offline.anatomy import LandmarkConfidence, LimbStability, Person, PersonObserver
from fp_metrics.functional import limbs
from fp_metrics.networks import bodies
from fp_metrics.networks.bodies import Body, Picture
from fp_metrics.observer import About

pytestmark = pytest.mark.usefixtures("offline_weights")

# What mediapipe 0.10.21 (solutions.pose and .face_mesh, static_image_mode=True, model_complexity=1) finds in
# skimage's astronaut, in pixels: landmark -> x, y, z, visibility, and landmark -> x, y, z.
POSE = {
    0: (222.74, 127.96, -425.08, 0.999),
    3: (256.44, 113.66, -398.86, 0.998),
    6: (196.58, 101.53, -406.82, 0.999),
    7: (268.02, 122.80, -223.01, 0.998),
    8: (190.38, 107.37, -252.25, 0.999),
    9: (233.76, 153.88, -356.22, 0.999),
    10: (205.84, 147.69, -364.65, 1.000),
    11: (306.24, 256.64, -84.83, 0.998),
    12: (112.66, 239.95, -181.02, 0.998),
    13: (322.55, 374.95, -26.80, 0.327),
    14: (64.60, 413.61, -240.18, 0.763),
    15: (326.37, 461.35, -195.99, 0.126),
    16: (135.24, 477.27, -469.49, 0.320),
    23: (241.87, 501.72, 15.94, 0.220),
    24: (128.27, 531.39, -14.66, 0.265),
}
FACE = {
    1: (224.10, 131.18, -23.31),
    10: (227.50, 72.43, -11.20),
    33: (194.65, 100.94, 3.93),
    61: (201.85, 139.45, 6.93),
    152: (221.34, 175.49, 8.71),
    234: (179.03, 111.05, 41.35),
    263: (256.71, 104.08, 4.48),
    291: (245.91, 142.24, 7.18),
    454: (270.86, 116.26, 42.08),
}
FACE_SCORE = 0.92174
# The same of solutions.hands, in frame 112 of bigbuckbunny.mp4: x, y, z of all 21 landmarks.
HAND = """
299.1 421.2 -0.0     316.1 432.6 -14.2    325.1 453.7 -20.9    329.6 474.2 -25.2    331.2 489.5 -28.3
287.8 470.8 -16.4    303.7 495.0 -26.6    320.5 502.7 -34.1    332.3 502.5 -38.0    280.7 475.5 -11.9
301.6 499.9 -20.1    319.2 502.9 -23.6    329.3 499.5 -25.1    279.3 477.9 -8.6     299.5 501.0 -17.5
316.4 503.0 -19.2    325.9 499.7 -18.6    281.6 477.3 -6.3     298.3 496.9 -13.8    311.8 500.1 -14.5
320.1 498.8 -13.1
"""
MIRRORED = [0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11]
"""The landmark on the other side, of the first 13."""

Spoil = Callable[[Picture, float], Picture]


@pytest.fixture(scope="module")
def astronaut() -> Picture:
    return np.asarray(data.astronaut())


@pytest.fixture(scope="module")
def phone() -> list[Picture]:
    """Every 4th frame of a man who talks in a car."""
    return list(read_video(real_clip("carphone_pristine.mp4"), step=4, size=(144, 176)))


def to_frames(pictures: Sequence[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255


def certainties(pictures: Sequence[Picture]) -> list[float]:
    """`landmark-confidence` of single pictures."""
    estimator = LandmarkConfidence()
    seen = PersonObserver(About()).look([(picture,) for picture in pictures], range(len(pictures)))
    return [estimator.measure([person], 0) for person in seen]


def stability(pictures: Sequence[Picture]) -> float:
    """Mean `limb-stability` of pictures that follow each other as looks do."""
    estimator = LimbStability()
    seen = PersonObserver(About()).look([(picture,) for picture in pictures], range(len(pictures)))
    return float(np.nanmean([estimator.measure(pair, 0) for pair in pairwise(seen)]))


def blur(picture: Picture, sigma: float) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma)) if sigma else picture


def noise(picture: Picture, sigma: float) -> Picture:
    grain = np.random.default_rng(0).normal(0, 255 * sigma, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def cut(picture: Picture, shift: float) -> Picture:
    """The lower half moved sideways by a share of the width."""
    middle = len(picture) // 2
    moved = np.roll(picture[middle:], round(shift * picture.shape[1]), axis=1)
    return np.concatenate((picture[:middle], moved))


def bend(picture: Picture, strength: float, phase: float = 1.0) -> Picture:
    """Waves of a quarter of the shorter side, `strength` of it high."""
    y, x = np.indices(picture.shape[:2]).astype(np.float32)
    short = min(picture.shape[:2])
    wave = [strength * short * np.sin(8 * np.pi * along / short + phase) for along in (y, x)]
    maps = ((at + moved).astype(np.float32) for at, moved in zip((x, y), wave, strict=True))
    return np.asarray(cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def shuffle(picture: Picture, blocks: float) -> Picture:
    """Blocks x blocks pieces in another order."""
    count = int(blocks)
    height, width = (side // count for side in picture.shape[:2])
    pieces = [
        picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for row in range(count)
        for column in range(count)
    ]
    order = np.random.default_rng(1).permutation(len(pieces))
    rows = [np.concatenate([pieces[i] for i in line], 1) for line in order.reshape(count, count)]
    return np.ascontiguousarray(np.concatenate(rows))


def test_the_astronauts_pose_is_mediapipes(astronaut: Picture) -> None:
    (body,) = bodies.find_bodies(astronaut)
    which, expected = list(POSE), np.array(list(POSE.values()))
    assert body.points[which, :2] == pytest.approx(expected[:, :2], abs=0.5)
    assert body.points[which, 2] == pytest.approx(expected[:, 2], abs=3)
    assert body.visibility[which] == pytest.approx(expected[:, 3], abs=0.01)
    assert (body.detection, body.confidence) == pytest.approx((0.807, 0.979), abs=0.005)  # not mediapipe's


def test_the_astronauts_face_is_mediapipes(astronaut: Picture) -> None:
    (face,) = bodies.find_faces(astronaut)
    assert face.points.shape == (468, 3)
    assert face.points[list(FACE)] == pytest.approx(np.array(list(FACE.values())), abs=0.1)
    assert face.detection == pytest.approx(FACE_SCORE, abs=1e-3)
    assert face.confidence > 0.99
    assert bodies.find_hands(astronaut) == []  # as mediapipe says


def test_a_rabbits_hand_is_mediapipes() -> None:
    (picture,) = read_video(real_clip("bigbuckbunny.mp4"), 112, 113)
    (hand,) = bodies.find_hands(picture)
    assert hand.points == pytest.approx(np.array(HAND.split(), dtype=np.float64).reshape(21, 3), abs=0.5)


def test_a_mirrored_picture_has_mirrored_landmarks(astronaut: Picture) -> None:
    flipped = np.ascontiguousarray(astronaut[:, ::-1])
    (body,), (mirrored,) = bodies.find_bodies(astronaut), bodies.find_bodies(flipped)
    expected = (astronaut.shape[1], 0) + body.points[MIRRORED, :2] * (-1, 1)
    assert mirrored.points[:13, :2] == pytest.approx(expected, abs=15)  # eyes are 60 pixels apart
    (face,), (mirrored_face,) = bodies.find_faces(astronaut), bodies.find_faces(flipped)
    for landmark, other in ((1, 1), (33, 263), (61, 291), (152, 152)):
        x, y = face.points[other, :2]
        assert mirrored_face.points[landmark, :2] == pytest.approx((astronaut.shape[1] - x, y), abs=3)


def test_a_larger_picture_of_the_same_has_larger_landmarks(astronaut: Picture) -> None:
    half = np.asarray(cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA))
    wide = np.concatenate((half, np.zeros_like(half)), 1)
    (body,), (small,), (inside,) = (bodies.find_bodies(picture) for picture in (astronaut, half, wide))
    assert small.points[:13, :2] == pytest.approx(body.points[:13, :2] / 2, abs=6)
    assert inside.points[:11, :2] == pytest.approx(body.points[:11, :2] / 2, abs=8)


@pytest.mark.parametrize(
    ("spoil", "strengths", "most"),
    [
        (blur, (0, 1, 2, 2.5), 0.7),
        (noise, (0, 0.01, 0.02, 0.03), 0.88),
        (cut, (0, 0.1, 0.2), 0.8),
        (bend, (0, 0.02, 0.03), 0.75),
    ],
)
def test_the_more_a_person_is_spoilt_the_less_certain(
    phone: list[Picture], spoil: Spoil, strengths: Sequence[float], most: float
) -> None:
    means = [np.mean(certainties([spoil(picture, s) for picture in phone[::4]])) for s in strengths]
    assert means[0] > 0.9
    assert all(after < before + 0.002 for before, after in pairwise(means))
    assert means[-1] < most


@pytest.mark.parametrize(
    "spoil", [partial(blur, sigma=9), partial(noise, sigma=0.3), partial(shuffle, blocks=8)]
)
def test_a_person_who_is_spoilt_enough_is_nobody(
    astronaut: Picture, phone: list[Picture], spoil: Callable[[Picture], Picture]
) -> None:
    enough = blur(astronaut, 30) if spoil.func is blur else spoil(astronaut)
    assert np.isnan(certainties([enough, *(spoil(picture) for picture in phone[::4])])).all()


def test_nobody_is_undefined_and_says_so() -> None:
    frames = to_frames([np.asarray(data.rocket())] * 6)
    for kind, reason in ((LandmarkConfidence, "no person was found"), (LimbStability, "no person with 3")):
        estimator = kind()
        estimator.update(frames)
        series = estimator.compute()
        assert np.isnan(series.score)
        assert series.reason is not None
        assert series.reason.startswith(reason)


def test_a_real_person_is_certain_and_keeps_the_limbs(phone: list[Picture]) -> None:
    frames = to_frames(list(read_video(real_clip("carphone_pristine.mp4"), stop=24, size=(144, 176))))
    confidence, steady = LandmarkConfidence(), LimbStability()
    for estimator in (confidence, steady):
        estimator.update(frames)
    assert confidence.compute().positions.tolist() == [0, 4, 8, 12, 16, 20]
    assert steady.compute().positions.tolist() == [2, 6, 10, 14, 18]
    assert confidence.compute().score > 0.9
    assert 0.97 < steady.compute().score < 1
    chunked = LandmarkConfidence()
    for chunk in frames.split(5):
        chunked.update(chunk)
    assert chunked.compute().values.tolist() == confidence.compute().values.tolist()


def test_a_person_who_wobbles_does_not_keep_the_limbs(phone: list[Picture]) -> None:
    steady = phone[:12]
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(steady))
    wobbling = [
        stability([bend(picture, strength, phase) for picture, phase in zip(steady, phases, strict=True)])
        for strength in (0, 0.01, 0.02, 0.03)
    ]
    assert wobbling[0] > 0.97
    assert wobbling == sorted(wobbling, reverse=True)
    assert wobbling[-1] < 0.95


def test_landmark_confidence_by_hand() -> None:
    half = np.concatenate((np.ones(11), np.zeros(22)))
    body = Body(np.zeros((33, 3)), 0.9, 0.8, np.full(33, 0.5), half)
    person = Person(replace(body, visibility=np.where(half > 0, 0.7, 0.1)), (), (), (10, 10))
    assert LandmarkConfidence().measure([person], 0) == pytest.approx(0.9 * 0.8 * 0.7)
    hand = bodies.Part(np.zeros((21, 3)), 0.5, 0.6)
    with_hands = replace(person, hands=(hand, hand))
    assert LandmarkConfidence().measure([with_hands], 0) == pytest.approx((0.504 + 2 * 0.3) / 3)
    assert np.isnan(LandmarkConfidence().measure([None], 0))


def standing() -> Tensor:
    """Somebody 160 pixels high who holds the arms away from the body: float64 ``(33, 2)``."""
    points = torch.zeros(33, 2, dtype=torch.float64)
    places = {11: (70, 40), 13: (85, 60), 15: (95, 82), 23: (65, 95), 25: (68, 130), 27: (69, 165)}
    places |= {3: (58, 12), 7: (62, 16), 9: (54, 24), 0: (50, 18)}
    for landmark, (x, y) in places.items():
        points[landmark] = torch.tensor([x, y], dtype=torch.float64)
        if landmark:
            other = {3: 6, 7: 8, 9: 10}.get(landmark, landmark + 1)
            points[other] = torch.tensor([100 - x, y], dtype=torch.float64)
    return points


ALL = torch.ones(33, dtype=torch.bool)


def test_stability_does_not_mind_moving_turning_and_scaling() -> None:
    points = standing()
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert float(limbs.limb_stability(points, 1.7 * points @ turn + 30, ALL)) == pytest.approx(1, abs=1e-9)


def test_stability_falls_with_the_stretch_of_one_limb() -> None:
    points, values = standing(), []
    for stretch in (1.0, 1.2, 1.6, 3.0):
        stretched = points.clone()
        stretched[15] = points[13] + stretch * (points[15] - points[13])
        values.append(float(limbs.limb_stability(points, 1.3 * stretched, ALL)))
    assert values[0] == pytest.approx(1, abs=1e-9)
    assert values == sorted(values, reverse=True)
    lengths = limbs.limb_lengths(points)
    forearm = list(limbs.LIMBS).index("left forearm")
    weight = lengths[forearm] * np.sqrt(1.2) / (lengths.sum() + lengths[forearm] * (np.sqrt(1.2) - 1))
    assert values[1] == pytest.approx(float(torch.exp(-weight * np.log(1.2))))


def test_stability_counts_what_is_seen_only_and_needs_three_limbs() -> None:
    points = standing()
    crippled = points.clone()
    crippled[15] *= 2
    seen = ALL.clone()
    seen[15] = False
    assert float(limbs.limb_stability(points, crippled, seen)) == pytest.approx(1)
    seen[:] = False
    seen[[11, 12, 13]] = True  # shoulders and one upper arm
    assert limbs.limb_stability(points, points, seen).isnan()
    seen[14] = True
    assert float(limbs.limb_stability(points, points, seen)) == pytest.approx(1)


def test_the_weighted_median_minimises_the_weighted_distance() -> None:
    draw = torch.Generator().manual_seed(0)
    for _ in range(20):
        values, weights = torch.randn(9, generator=draw), torch.rand(9, generator=draw)
        weights = weights / weights.sum()
        cost = (weights * (values[:, None] - values).abs()).sum(1)
        assert float(limbs.weighted_median(values, weights)) == pytest.approx(float(values[cost.argmin()]))


def test_landmarks_beyond_the_picture_are_not_seen() -> None:
    points = torch.tensor([[0.0, 0.0], [9.9, 4.9], [10.0, 2.0], [2.0, -0.1], [2.0, 2.0]])
    visibility = torch.tensor([0.5, 0.9, 0.9, 0.9, 0.49])
    assert limbs.landmarks_seen(points, visibility, 5, 10).tolist() == [True, True, False, False, False]


def test_another_person_is_not_compared() -> None:
    points = standing()
    there = np.column_stack((points.numpy(), np.zeros(33)))
    body = Body(there, 0.9, 0.9, np.ones(33), np.ones(33))
    first = Person(body, (), (), (200, 400))
    near, far = (
        replace(first, body=replace(body, points=there + np.array([step, 0, 0]))) for step in (60, 120)
    )
    assert LimbStability().measure([first, near], 0) == pytest.approx(1)
    assert np.isnan(LimbStability().measure([first, far], 0))
    unseen = replace(first, body=replace(body, visibility=np.zeros(33)))
    assert np.isnan(LimbStability().measure([first, unseen], 0))
    assert np.isnan(LimbStability().measure([first, None], 0))


def test_without_the_runtime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LandmarkConfidence.unavailable() is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    bodies._interpreter.cache_clear()
    for kind in (LandmarkConfidence, LimbStability):
        assert "pip install -e '.[bodies]'" in str(kind.unavailable())
    with pytest.raises(ImportError, match=r"'\.\[bodies\]'"):
        bodies.find_bodies(np.zeros((32, 32, 3), dtype=np.uint8))


def test_building_the_observer_reads_no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    assert PersonObserver(About()).span == 1
    assert set(PersonObserver.weights) == set(bodies.WEIGHTS)
