"""VBench's published rules against hand-made arithmetic, torchvision and other ways to write them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize

from fp_metrics import About
from fp_metrics.families.offline.dynamic import SHORTER_SIDE, DisDynamicDegree, DisTopFlow, TopMotion
from fp_metrics.functional import vbench
from fp_metrics.functional.flow import dis_flow, grey_flow, grey_picture
from fp_metrics.observer import Unmeasurable
from fp_metrics.vbench_json import (
    DIMENSIONS,
    DimensionResult,
    VBenchResults,
    VideoResult,
    read_vbench_json,
    results_of,
    write_vbench_json,
)

JUST = 1e-6


def pan(frames: int, speed: float, size: tuple[int, int] = (160, 200)) -> Tensor:
    """A camera that moves by `speed` pixels per frame over smooth random patches: ``(t, 3, h, w)``."""
    rough = np.random.default_rng(0).random((240, 280))
    patches = ndimage.gaussian_filter(rough, 3, mode="wrap")
    patches = (patches - patches.min()) / np.ptp(patches)
    shots = [
        ndimage.shift(patches, (0, -speed * step), mode="grid-wrap")[: size[0], : size[1]]
        for step in range(frames)
    ]
    return torch.from_numpy(np.stack(shots)).clamp(0, 1).float()[:, None].expand(-1, 3, -1, -1)


def test_motion_is_the_difference_to_the_truncated_prediction() -> None:
    frames = torch.tensor([100, 100, 0, 255], dtype=torch.uint8).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    predicted = (torch.tensor([100.9, 102.2, -20, 300]) / 255).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    expected = [1, 253 / 255, 1, 1]
    assert vbench.predicted_agreement(frames, predicted).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_published_norms() -> None:
    assert vbench.normalised(0.706, "motion_smoothness") == 0
    assert vbench.normalised(0.9975, "motion_smoothness") == pytest.approx(1)
    assert vbench.normalised(0.989725, "motion_smoothness") == pytest.approx(0.2837250 / 0.2915)
    assert vbench.normalised(0.182, "overall_consistency") == pytest.approx(0.5)
    assert vbench.normalised(0.57333, "aesthetic_quality") == 0.57333


RATES = {4: 1, 8: 1, 12: 2, 16: 2, 20: 2, 24: 3, 25: 3, 29.97: 4, 30: 4, 50: 6, 60: 8}


@pytest.mark.parametrize(("fps", "interval"), RATES.items())
def test_the_interval_of_dynamic_degree(fps: float, interval: int) -> None:
    assert vbench.dynamic_interval(fps) == interval
    for estimator in (DisTopFlow(About(fps=fps)), DisDynamicDegree(About(fps=fps))):
        assert (estimator.span, estimator.observer_span) == (interval + 1, interval + 1)
    assert DisDynamicDegree(About(fps=fps)).least_frames == 2 * interval + 1


@pytest.mark.parametrize(("size", "pixels"), [((256, 400), 6), ((512, 256), 6), ((720, 1280), 16.875)])
def test_a_pair_moves_above_six_pixels_of_256(size: tuple[int, int], pixels: float) -> None:
    assert vbench.dynamic_threshold(*size) == pixels
    degree = DisDynamicDegree()
    assert degree.measure([TopMotion(pixels, *size)], 2) == 0
    assert degree.measure([TopMotion(pixels + JUST, *size)], 2) == 1


def published_count(moving: list[bool]) -> bool:
    """The published loop, which stops as soon as enough pairs moved; every frame is a sampled one."""
    needed = round(4 * ((len(moving) + 1) / 16.0))
    so_far = 0
    for moves in moving:
        so_far += moves
        if so_far >= needed:
            return True
    return False


@pytest.mark.parametrize("sampled", range(1, 66))
def test_dynamic_if_a_quarter_of_the_frames_have_moving_pairs(sampled: int) -> None:
    pairs = sampled - 1
    for moves in range(pairs + 1):
        moving = [1.0] * moves + [0.0] * (pairs - moves)
        expected = published_count([bool(pair) for pair in moving])
        assert vbench.is_dynamic(moving, vbench_compat=True) == expected
        if sampled >= vbench.LEAST_SAMPLED:
            assert vbench.is_dynamic(moving) == vbench.is_dynamic(moving[::-1]) == expected


def test_dynamic_counts_by_hand() -> None:
    for sampled, least in ((3, 1), (5, 1), (7, 2), (10, 2), (11, 3), (16, 4), (17, 4), (64, 16)):
        assert not vbench.is_dynamic([1] * (least - 1) + [0] * (sampled - least))
        assert vbench.is_dynamic([1] * least + [0] * (sampled - 1 - least))
    assert vbench.is_dynamic([0], vbench_compat=True), "published: any two frames"
    assert not vbench.is_dynamic([0])
    assert vbench.is_dynamic([1])
    assert not vbench.is_dynamic([], vbench_compat=True)


@pytest.mark.parametrize("fps", [8, 16, 24, 25, 30, 60])
def test_flow_is_per_eighth_of_a_second_at_any_rate(fps: int) -> None:
    video = pan(fps // 2 + 9, speed=24 / fps)  # 3 pixels per eighth of a second
    flow = DisTopFlow(About(fps=fps))
    flow.update(video)
    series = flow.compute()
    interval = RATES[fps]
    assert series.positions.tolist() == [
        start + (interval + 1) // 2 for start in range(0, len(video) - interval, interval)
    ]
    assert series.score == pytest.approx(100 * 3 / 160, rel=0.03)


def test_flow_does_not_depend_on_the_size_of_the_frames() -> None:
    video = pan(7, speed=1.5, size=(192, 192))
    large = torch.nn.functional.interpolate(video, scale_factor=4, mode="bicubic").clamp(0, 1)
    scores = []
    for frames in (video, large):
        flow = DisTopFlow(About(fps=24))
        flow.update(frames)
        scores.append(flow.compute().score)
    assert scores[1] == pytest.approx(scores[0], rel=0.1)
    assert tuple(grey_picture(large[0], SHORTER_SIDE).shape) == (256, 256)


def test_grey_pictures_are_rounded_luma_averaged_by_area() -> None:
    frame = torch.rand(3, 40, 64, generator=torch.Generator().manual_seed(5))
    luma = 0.299 * frame[0] + 0.587 * frame[1] + 0.114 * frame[2]
    torch.testing.assert_close(grey_picture(frame, 40), (luma * 255).round().to(torch.uint8))
    blocks = luma.reshape(20, 2, 32, 2).mean((1, 3)) * 255
    off = (grey_picture(frame, 20).float() - blocks).abs()
    assert float(off.max()) <= 0.5 + 1e-3
    pair = torch.stack((frame, frame.roll(2, -1)))
    torch.testing.assert_close(grey_flow(*(grey_picture(one) for one in pair)), dis_flow(*pair))


def test_still_slow_fast_and_short_videos() -> None:
    readings = {}
    for name, video in {
        "still": pan(1, 0).expand(13, -1, -1, -1),
        "slow": pan(13, 0.3),
        "fast": pan(13, 3),
    }.items():
        degree, flow = DisDynamicDegree(), DisTopFlow()
        degree.update(video)
        flow.update(video)
        readings[name] = (degree.compute().score, flow.compute().score)
    assert readings["still"] == (0, pytest.approx(0, abs=0.05))
    assert readings["slow"][0] == 0
    assert readings["fast"][0] == 1
    assert readings["still"][1] < readings["slow"][1] < readings["fast"][1]

    short = DisDynamicDegree()
    short.update(pan(6, 3))
    assert math.isnan(short.compute().score)
    assert short.compute().reason == "needs at least 7 frame(s), got 6"
    short.update(pan(1, 3))
    assert short.compute().score == 1


def test_chunks_of_any_size_give_the_same_flow() -> None:
    video = pan(17, 1.0)
    for kind in (DisTopFlow, DisDynamicDegree):
        whole, pieces = kind(About(fps=30)), kind(About(fps=30))
        whole.update(video)
        for piece in video.split(3):
            pieces.update(piece)
        np.testing.assert_array_equal(pieces.compute().values, whole.compute().values)
        np.testing.assert_array_equal(pieces.compute().positions, whole.compute().positions)


def test_frames_that_flow_cannot_compare_say_so() -> None:
    with pytest.raises(Unmeasurable, match="16x16 pixels, got 12x40"):
        DisTopFlow().update(torch.zeros(4, 3, 12, 40))


def test_clip_frames_are_the_middles_of_eight_stretches() -> None:
    assert vbench.clip_indices(16) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert vbench.clip_indices(24) == [1, 4, 7, 10, 13, 16, 19, 22]
    assert vbench.clip_indices(9) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert vbench.clip_indices(5) == [0, 1, 2, 3, 4, 4, 4, 4]
    assert vbench.clip_indices(1) == [0] * 8
    for length in range(8, 700):
        edges = np.linspace(0, length, 9).astype(int)
        assert vbench.clip_indices(length) == ((edges[:-1] + edges[1:] - 1) // 2).tolist()
    with pytest.raises(ValueError, match="length=0"):
        vbench.clip_indices(0)


@pytest.mark.parametrize("size", [(224, 224), (300, 225), (225, 300), (101, 397), (480, 853)])
def test_frames_for_clip_are_torchvisions(size: tuple[int, int]) -> None:
    frames = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = Compose(
        [
            Resize(224, interpolation=InterpolationMode.BICUBIC, antialias=False),
            CenterCrop(224),
            Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )(frames)
    torch.testing.assert_close(vbench.clip_frames(frames), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 300), (512, 300)), ((513, 300), (512, 299)), ((720, 1280), (288, 512)), ((405, 720), (288, 512))],
)
def test_frames_for_musiq_are_at_most_512_long(size: tuple[int, int], expected: tuple[int, int]) -> None:
    frames = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert vbench.imaging_size(*size) == expected
    torch.testing.assert_close(
        vbench.imaging_quality_frames(frames), Resize(expected, antialias=False)(frames), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("kind", "threshold"), [("human", 5 / 11), ("face", 10 / 33), ("hand", 0.3232)])
def test_a_person_is_abnormal_above_the_threshold_of_any_crop(kind: str, threshold: float) -> None:
    below, above = (torch.tensor([0.0, threshold + off], dtype=torch.float64) for off in (-JUST, JUST))
    others = {"human": torch.tensor([0.45]), "face": torch.tensor([0.30]), "hand": torch.tensor([0.32])}
    assert not vbench.is_abnormal(others | {kind: below})
    assert vbench.is_abnormal(others | {kind: above})
    assert vbench.is_abnormal({kind: above})
    assert not vbench.is_abnormal({})


def test_anatomy_without_people_is_undefined_and_was_perfect() -> None:
    assert vbench.anatomy_score(3, 12) == 0.75
    assert math.isnan(vbench.anatomy_score(0, 0))
    assert vbench.anatomy_score(0, 0, vbench_compat=True) == 1
    assert vbench.anatomy_score(3, 12, vbench_compat=True) == 0.75


def test_identity_is_the_share_of_frames_at_or_above_the_threshold() -> None:
    cosines, faces = torch.full((21,), 0.4), torch.ones(21, dtype=torch.int64)
    assert vbench.identity_rate(cosines, faces) == 1
    cosines[5:10] = 0.4 - JUST
    assert vbench.identity_rate(cosines, faces) == 0.75
    assert math.isnan(vbench.identity_rate(cosines[:20], faces[:20])), (
        "19 frames beside the first are too few"
    )


def test_identity_judges_frames_with_one_face() -> None:
    cosines, faces = torch.full((31,), 0.9), torch.ones(31, dtype=torch.int64)
    cosines[1:6], faces[21:26], faces[26:31] = 0.1, 0, 2
    cosines[21:31] = math.nan
    assert vbench.identity_rate(cosines, faces) == 15 / 20
    assert vbench.identity_rate(cosines, faces, vbench_compat=True) == 20 / 25, "no face counts as agreeing"
    for first in (0, 2):
        faces[0] = first
        assert math.isnan(vbench.identity_rate(cosines, faces))
        assert math.isnan(vbench.identity_rate(cosines, faces, vbench_compat=True))


GOLD = {
    "imaging_quality": [0.664459, [{"video_path": "videos/gold.mp4", "video_results": 66.4459}]],
    "aesthetic_quality": [0.57333, [{"video_path": "videos/gold.mp4", "video_results": 0.57333}]],
    "subject_consistency": [
        0.9,
        [{"video_path": "videos/gold.mp4", "video_results": 0.9, "cnt": 16}],
        "more",
    ],
    "motion_smoothness": [0.989725, [{"video_path": "videos/gold.mp4", "video_results": 0.989725}]],
    "dynamic_degree": [1.0, [{"video_path": "videos/gold.mp4", "video_results": True}]],
    "overall_consistency": [0.310585, [{"video_path": "videos/gold.mp4", "video_results": 0.310585}]],
    "Human_Identity": [
        0.95,
        [
            {"video_path": "videos/gold.mp4", "video_results": 0.95, "frames": [1, 2]},
            {"video_path": "videos/ü.mp4", "video_results": -1},
        ],
    ],
}
"""Figures once published for one clip; those of its subject and of people are made up."""


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    path = tmp_path / "gold_eval_results.json"
    path.write_text(json.dumps(GOLD, indent=4), encoding="utf-8")
    return path


def test_published_figures_are_read_in_our_units(gold: Path) -> None:
    results = read_vbench_json(gold)
    read = {result.score: result.figure(result.videos[0]) for result in results.dimensions.values()}
    assert read == {
        "clarity": 66.4459,
        "aesthetic": 0.57333,
        "motion": 0.989725,
        "dynamic": 1.0,
        "semantic": 0.310585,
        "identity": 0.95,
    }
    for name, result in results.dimensions.items():
        assert result.mean == GOLD[name][0] == pytest.approx(result.mean_of_videos())
    assert results.others == {"subject_consistency": GOLD["subject_consistency"]}
    rows = results.to_rows()
    assert len(rows) == 7
    assert {(row["family"], row["protocol"]) for row in rows} == {("paper", "VBench's own JSON")}
    assert (rows[0]["estimator"], rows[0]["video"]) == ("paper/vbench-imaging-quality", "videos/gold.mp4")
    assert [(row["score"], row["reason"]) for row in rows if math.isnan(row["value"])] == [
        ("identity", "VBench could not judge this video")
    ]


def test_a_file_read_and_written_keeps_its_bytes(gold: Path, tmp_path: Path) -> None:
    write_vbench_json(read_vbench_json(gold), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == gold.read_bytes()
    assert read_vbench_json(tmp_path / "again.json") == read_vbench_json(gold)


def test_our_figures_are_written_as_vbench_would(tmp_path: Path) -> None:
    nan = math.nan
    results = results_of(
        {
            "clarity": {"a.mp4": 60.0, "b.mp4": 70.0},
            "dynamic": {"a.mp4": 1.0, "b.mp4": 0.0},
            "identity": {"a.mp4": 0.5, "b.mp4": nan},
            "anatomy": {"a.mp4": nan, "b.mp4": 0.25},
            "motion": {"a.mp4": nan, "b.mp4": nan},
        }
    )
    write_vbench_json(results, tmp_path / "ours.json")
    assert json.loads((tmp_path / "ours.json").read_text()) == {
        "imaging_quality": [
            0.65,
            [{"video_path": "a.mp4", "video_results": 60.0}, {"video_path": "b.mp4", "video_results": 70.0}],
        ],
        "dynamic_degree": [
            0.5,
            [{"video_path": "a.mp4", "video_results": True}, {"video_path": "b.mp4", "video_results": False}],
        ],
        "Human_Identity": [
            0.5,
            [{"video_path": "a.mp4", "video_results": 0.5}, {"video_path": "b.mp4", "video_results": -1}],
        ],
        "Human_Anatomy": [0.25, [{"video_path": "b.mp4", "video_results": 0.25}]],
    }
    assert read_vbench_json(tmp_path / "ours.json") == results
    with pytest.raises(ValueError, match=r"dynamic .*3\.5 .*a\.mp4"):
        results_of({"dynamic": {"a.mp4": 3.5}})


def test_results_built_by_hand_need_no_order(tmp_path: Path) -> None:
    by_hand = VBenchResults(
        {"aesthetic_quality": DimensionResult("aesthetic_quality", 0.5, (VideoResult("a.mp4", 0.5),))},
        {"scene": [0.1, []]},
    )
    write_vbench_json(by_hand, tmp_path / "x.json")
    assert list(json.loads((tmp_path / "x.json").read_text())) == ["aesthetic_quality", "scene"]


def test_all_seven_scores_have_a_dimension() -> None:
    assert len(set(DIMENSIONS.values())) == 7
    assert DIMENSIONS["anatomy"] == "Human_Anatomy"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expecting value"),
        ("[]", "got [], expected"),
        ('{"imaging_quality": 0.5}', "imaging_quality: got 0.5, expected [mean, [videos]]"),
        ('{"imaging_quality": [0.5]}', "imaging_quality: got [0.5], expected [mean, [videos]]"),
        ('{"imaging_quality": [true, []]}', "imaging_quality[0]: got true, expected"),
        ('{"imaging_quality": [0.5, [3]]}', "imaging_quality[1][0]: got 3, expected {"),
        (
            '{"dynamic_degree": [1, [{"video_path": "a"}]]}',
            'dynamic_degree[1][0]: got {"video_path": "a"}, expected',
        ),
        (
            '{"Human_Anatomy": [1, [{"video_path": 7, "video_results": 1}]]}',
            "video_path: got 7, expected text",
        ),
        (
            '{"motion_smoothness": [1, [{"video_path": "a", "video_results": "0.9"}]]}',
            'motion_smoothness[1][0].video_results: got "0.9", expected',
        ),
        ('{"dynamic_degree": [1, []], "dynamic_degree": [0, []]}', "'dynamic_degree'"),
        (f'{{"imaging_quality": {"[" * 100_000}', " nested "),
        ('{"imaging_quality": [1e400, []]}', "imaging_quality[0]: got Infinity, expected"),
        (f'{{"imaging_quality": [{"9" * 400}, []]}}', "imaging_quality[0]: got 999"),
        (
            '{"imaging_quality": [1, [{"video_path": "a", "video_results": 1}, '
            '{"video_path": "a", "video_results": 2}]]}',
            "imaging_quality: 'a' ",
        ),
    ],
)
def test_a_malformed_file_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="VBench") as caught:
        read_vbench_json(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
