"""Anchors, boxes, suppression and regions against torchvision, torch and cases worked out by hand."""

import math

import cv2
import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fp_metrics.networks import blaze
from fp_metrics.networks.blaze import Detections, Region

THRESHOLD = 0.3


def random_detections(seed: int, count: int = 40) -> Detections:
    draw = np.random.default_rng(seed)
    corner, extent = draw.uniform(0, 1, (count, 2)), draw.uniform(0.05, 0.4, (count, 2))
    scores = np.sort(draw.uniform(0.5, 1, count))[::-1].copy()
    return Detections(scores, np.concatenate((corner, corner + extent), 1), draw.uniform(0, 1, (count, 4, 2)))


@pytest.mark.parametrize(
    ("size", "strides", "per_layer", "count"),
    [
        (224, (8, 16, 32, 32, 32), 2, 2254),
        (192, (8, 16, 16, 16), 2, 2016),
        (128, (8, 16, 16, 16), 2, 896),
        (192, (4,), 1, 2304),
    ],
)
def test_there_are_as_many_anchors_as_the_published_networks_have_boxes(
    size: int, strides: tuple[int, ...], per_layer: int, count: int
) -> None:
    assert blaze.anchor_centres(size, strides, per_layer).shape == (count, 2)


def test_anchors_run_along_rows_and_layers_of_one_stride_share_their_cells() -> None:
    anchors = blaze.anchor_centres(224, (8, 16, 32, 32, 32))
    fine, middle = 28 * 28 * 2, 14 * 14 * 2
    expected = {
        0: (0.5 / 28, 0.5 / 28),
        1: (0.5 / 28, 0.5 / 28),
        2: (1.5 / 28, 0.5 / 28),
        2 * 28: (0.5 / 28, 1.5 / 28),
        fine: (0.5 / 14, 0.5 / 14),
        fine + middle + 5: (0.5 / 7, 0.5 / 7),
        fine + middle + 6: (1.5 / 7, 0.5 / 7),
        2253: (6.5 / 7, 6.5 / 7),
    }
    for index, centre in expected.items():
        assert anchors[index] == pytest.approx(centre)


def test_decoding_by_hand() -> None:
    anchors = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.5]])
    raw = np.array(
        [[10, -20, 40, 80, 5, 5, -10, 0], [0, 0, 20, 20, 0, 0, 0, 0], [0] * 8], dtype=np.float32
    )  # in an input of 100 pixels
    found = blaze.decode(raw, np.array([0.0, math.log(3), -0.01], dtype=np.float32), anchors, 100)
    assert found.scores == pytest.approx([0.75, 0.5])
    assert found.boxes == pytest.approx(np.array([[0.65, 0.4, 0.85, 0.6], [0.15, -0.1, 0.55, 0.7]]))
    assert found.keypoints[1] == pytest.approx(np.array([[0.3, 0.55], [0.15, 0.5]]))


def test_decoding_nothing_is_no_detection() -> None:
    none = blaze.decode(np.zeros((5, 8)), np.full(5, -9.0), np.zeros((5, 2)), 100)
    assert len(none) == len(blaze.blend_overlapping(none)) == 0
    assert len(blaze.placed(none, Region(5, 5, 10))) == 0


def test_overlap_is_torchvisions_intersection_over_union() -> None:
    boxes = random_detections(1).boxes
    expected = torchvision.ops.box_iou(torch.from_numpy(boxes[:1]), torch.from_numpy(boxes))[0]
    assert blaze.overlap(boxes[0], boxes) == pytest.approx(expected.numpy(), abs=1e-12)


@given(st.integers(0, 10_000))
def test_what_suppression_keeps_is_what_torchvision_keeps(seed: int) -> None:
    found = random_detections(seed)
    kept = torchvision.ops.nms(torch.from_numpy(found.boxes), torch.from_numpy(found.scores), THRESHOLD)
    assert blaze.blend_overlapping(found, THRESHOLD).scores == pytest.approx(found.scores[kept.numpy()])


def test_suppression_blends_what_overlaps_by_hand() -> None:
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [3.0, 3.0, 4.0, 4.0], [0.2, 0.0, 1.2, 1.0]])
    keypoints = np.array([[[0.0, 0.0]], [[3.0, 3.0]], [[1.0, 2.0]]])
    blended = blaze.blend_overlapping(Detections(np.array([0.9, 0.8, 0.6]), boxes, keypoints))
    assert blended.scores == pytest.approx([0.9, 0.8])
    assert blended.boxes == pytest.approx(np.array([[0.08, 0.0, 1.08, 1.0], [3.0, 3.0, 4.0, 4.0]]))
    assert blended.keypoints == pytest.approx(np.array([[[0.4, 0.8]], [[3.0, 3.0]]]))


def test_a_box_without_an_area_is_not_an_endless_loop() -> None:
    flat = Detections(np.array([0.9, 0.8]), np.zeros((2, 4)), np.zeros((2, 1, 2)))
    assert len(blaze.blend_overlapping(flat)) == 2


def test_a_wide_picture_lies_in_the_middle_of_its_square() -> None:
    region = blaze.whole(100, 300)
    assert blaze.to_picture(np.array([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]), region) == pytest.approx(
        np.array([[0.0, -100.0], [300.0, 200.0], [150.0, 50.0]])
    )


@pytest.mark.parametrize("repeat_border", [True, False])
def test_cutting_out_is_what_torch_samples(repeat_border: bool) -> None:
    y, x = np.indices((90, 120))
    smooth = 128 + 100 * np.stack((np.sin(x / 20), np.cos(y / 15), np.sin((x + y) / 25)), -1)
    picture = smooth.round().astype(np.uint8)
    region, size = Region(80.0, 50.0, 70.0, 0.6), 64
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    cos, sin = math.cos(0.6), math.sin(0.6)
    across, down = 70 * (column / size - 0.5), 70 * (row / size - 0.5)
    where = np.stack((80 + cos * across - sin * down, 50 + sin * across + cos * down), -1)
    grid = torch.from_numpy(2 * where / (119, 89) - 1)[None]
    border = "border" if repeat_border else "zeros"
    image = torch.from_numpy(picture).movedim(-1, 0)[None].double()
    expected = F.grid_sample(image, grid, padding_mode=border, align_corners=True)[0].movedim(0, -1).numpy()
    difference = np.abs(blaze.cut_out(picture, region, size, repeat_border=repeat_border) - expected)
    beyond = 255 / 32 if not repeat_border else 1.0  # at the black border, 1/32 pixel is 8 grey levels
    assert difference.max() <= beyond
    assert difference.mean() < 0.5


def test_positions_go_back_to_where_they_were_cut_out() -> None:
    picture = np.zeros((200, 200, 3), dtype=np.uint8)
    cv2.circle(picture, (120, 70), 6, (255, 255, 255), -1)
    region = Region(110.0, 80.0, 90.0, -0.8)
    seen = blaze.cut_out(picture, region, 180, repeat_border=False)[..., 0].astype(np.float64)
    row, column = np.indices(seen.shape)
    middle = np.array([(seen * column).sum(), (seen * row).sum()]) / seen.sum() / 180
    assert blaze.to_picture(middle, region) == pytest.approx([120, 70], abs=0.05)


def test_regions_by_hand() -> None:
    person = blaze.person_region(np.array([[100.0, 200.0], [100.0, 100.0]]))
    assert (person.x, person.y, person.side, person.angle) == pytest.approx((100, 200, 250, 0))
    lying = blaze.person_region(np.array([[100.0, 200.0], [200.0, 200.0]]))
    assert lying.angle == pytest.approx(math.pi / 2)
    palm, wrist_below = np.array([40.0, 60.0, 60.0, 80.0]), np.array([[50.0, 90.0], [0, 0], [50.0, 50.0]])
    hand = blaze.hand_region(palm, wrist_below)
    assert (hand.x, hand.y, hand.side, hand.angle) == pytest.approx((50, 60, 52, 0))
    face = blaze.face_region(np.array([10.0, 20.0, 50.0, 50.0]), np.array([[20.0, 30.0], [40.0, 30.0]]))
    assert (face.x, face.y, face.side, face.angle) == pytest.approx((30, 35, 60, 0))


@given(st.floats(-3.1, 3.1))
def test_regions_turn_with_what_they_are_around(angle: float) -> None:
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.array([[cos, -sin], [sin, cos]])
    points = np.array([[0.0, 40.0], [3.0, 10.0], [0.0, 0.0]])  # around a palm whose box is around the origin
    box = np.array([-10.0, -10.0, 10.0, 10.0])
    upright, hand = blaze.hand_region(box, points), blaze.hand_region(box, points @ turned.T)
    assert (hand.x, hand.y) == pytest.approx(tuple(turned @ (upright.x, upright.y)), abs=1e-9)
    assert math.remainder(hand.angle - upright.angle - angle, 2 * math.pi) == pytest.approx(0, abs=1e-9)
    person = blaze.person_region(points[[0, 2]] @ turned.T)
    assert math.remainder(person.angle - angle, 2 * math.pi) == pytest.approx(0, abs=1e-9)
    assert person.side == pytest.approx(100)


def test_refining_finds_the_peak_nearby_and_leaves_the_rest() -> None:
    row, column = np.indices((64, 64)).astype(np.float64)
    peak = np.exp(-((column - 30) ** 2 + (row - 21) ** 2) / 2)
    logits = np.log(np.clip(peak, 1e-9, 1 - 1e-9) / (1 - np.clip(peak, 1e-9, 1 - 1e-9)))
    too_low = np.full_like(logits, -0.1)
    maps = np.stack((logits, too_low, logits, logits), -1)
    points = np.array([[31.5, 20.2], [31.5, 20.2], [50.0, 50.0], [-3.0, 20.0]]) / 64
    refined = blaze.refine(points, maps)
    assert refined[0] == pytest.approx(np.array([30, 21]) / 64, abs=1e-3)
    assert refined[1:] == pytest.approx(points[1:])
