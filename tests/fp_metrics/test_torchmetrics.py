"""What torchmetrics does with estimators: an estimator alone = in a collection = merged = over two processes.

Where a video cannot be divided (values look at frames of both halves, or at the first frame), the estimator
says so by its name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.multiprocessing import spawn

from fp_data.get_clips import get_clips
from fp_data.read_video import read_video
from fp_metrics import FAMILIES, About, Drift, Series, segment
from fp_metrics.companions import Psnr
from pieces_of_videos import BORDER, Case, as_plain, in_collections, in_rank

LENGTH = 24
EVERY_NAME = sorted(name for kinds in FAMILIES.values() for name in kinds)
DIVISIBLE = {
    "offline/brisque",
    "offline/conse-proxy",
    "offline/hand-made-colour-contrast",
    "offline/landmark-confidence",
    "offline/niqe",
    "paper/amt-motion-smoothness",
    "paper/arcface-human-identity",
    "paper/laion-aesthetic",
    "paper/musiq-spaq",
    "paper/vbench2-human-anatomy",
    "paper/viclip-overall-consistency",
    "paper_vbench_compat/amt-motion-smoothness",
    "paper_vbench_compat/arcface-human-identity",
    "paper_vbench_compat/laion-aesthetic",
    "paper_vbench_compat/musiq-spaq",
    "paper_vbench_compat/vbench2-human-anatomy",
    "paper_vbench_compat/viclip-overall-consistency",
    "plain/colourfulness-contrast",
    "plain/denoised-sharpness",
    "plain/no-caption-attributes",
    "plain/no-known-shape",
    "probe/clarity-head",
    "probe/colourfulness-contrast",
    "probe/well-formed-head",
    "world/colourfulness-contrast",
    "world/look-against-first",
    "world/render-sharpness",
    "world/shape-iou",
}
"""Estimators whose values look at one frame only; those of all others are refused in halves."""


@pytest.fixture(scope="module")
def cases(video: Tensor, about: About, offline_weights: object) -> Mapping[str, Case]:
    clip = next(path for path in get_clips() if path.stem == "carphone_pristine")
    frames = [cv2.resize(frame, (236, 194)) for frame in read_video(clip, 0, LENGTH, size=(144, 176))]
    real = torch.from_numpy(np.stack(frames)).movedim(-1, 1).to(torch.float32) / 255
    noise = 0.02 * torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
    noisy = (video + noise).clamp(0, 1)
    man = About(25, "a man talks in a car")
    return {
        name: Case(name, man, real) if name.startswith("offline/") else Case(name, about, noisy)
        for name in EVERY_NAME
    }


@pytest.fixture(scope="module")
def alone(cases: Mapping[str, Case]) -> Mapping[str, Series]:
    return {name: case.feed(case.estimator(), range(LENGTH)).compute() for name, case in cases.items()}


@pytest.fixture(scope="module")
def together(cases: Mapping[str, Case]) -> Mapping[str, Series]:
    return in_collections(list(cases.values()))


@pytest.fixture(scope="module")
def synced(cases: Mapping[str, Case], tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[str, Any]]:
    folder = tmp_path_factory.mktemp("ranks")
    spawn(in_rank, (list(cases.values()), str(folder)), nprocs=2)
    return [torch.load(Path(folder) / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def check(found: Mapping[str, Any] | str, expected: Series, name: str) -> None:
    if name in DIVISIBLE:
        assert not isinstance(found, str), found
        for key, value in as_plain(expected).items():
            torch.testing.assert_close(found[key], value, atol=1e-6, rtol=0, equal_nan=True)
    else:
        assert isinstance(found, str), "halves are not the whole, and nobody said so"
        assert found.startswith(f"{name}: ")


@pytest.mark.parametrize("name", EVERY_NAME)
def test_alone_is_in_a_collection_is_merged_is_over_two_processes(
    name: str,
    cases: Mapping[str, Case],
    alone: Mapping[str, Series],
    together: Mapping[str, Series],
    synced: list[Mapping[str, Any]],
) -> None:
    case, expected = cases[name], alone[name]
    for key, value in as_plain(expected).items():
        torch.testing.assert_close(as_plain(together[name])[key], value, atol=1e-6, rtol=0, equal_nan=True)
    one, other = (case.feed(case.estimator(), half) for half in (range(BORDER), range(BORDER, LENGTH)))
    one.compute()  # a result that torchmetrics remembers is not that of the merged
    merged: Any
    try:
        other.merge_state(one)
        merged = as_plain(other.compute())
    except ValueError as refused:
        merged = str(refused)
    check(merged, expected, name)
    for found in synced:
        check(found[name], expected, name)


def test_halves_that_were_counted_apart_follow_each_other(cases: Mapping[str, Case]) -> None:
    """As torchmetrics is used: nobody gives positions, the state comes as a dict."""
    case = cases["plain/colourfulness-contrast"]
    one, other = (case.feed(case.estimator(), half, False) for half in (range(9), range(9, LENGTH)))
    one.merge_state(other.metric_state)
    whole = case.feed(case.estimator(), range(LENGTH)).compute()
    np.testing.assert_array_equal(one.compute().values, whole.values)
    np.testing.assert_array_equal(one.compute().positions, np.arange(LENGTH))
    one.update(case.video[:1])
    assert one.compute().positions.tolist() == list(range(LENGTH + 1))
    one.reset()
    assert (one.frames, one.compute().reason) == (0, "needs at least 1 frame(s), got 0")


def test_a_companion_merges_as_it_is_fed(cases: Mapping[str, Case]) -> None:
    video = cases["plain/colourfulness-contrast"].video
    whole, one, other = Psnr(), Psnr(), Psnr()
    whole.update(video, video.flip(-1))
    one.update(video[:5], video[:5].flip(-1))
    other.update(video[5:], video[5:].flip(-1))
    one.merge_state(other)
    np.testing.assert_array_equal(one.compute().values, whole.compute().values)


def test_pieces_that_do_not_touch_lose_nothing(cases: Mapping[str, Case]) -> None:
    case = cases["plain/dis-middle-frame"]
    one, other = (case.feed(case.estimator(), part) for part in (range(6), range(10, 16)))
    one.merge_state(other)
    whole = case.estimator()
    whole.update(case.video[:6], range(6))
    whole.update(case.video[10:16], range(10, 16))
    np.testing.assert_array_equal(one.compute().values, whole.compute().values)
    with pytest.raises(ValueError, match=r"^plain/dis-middle-frame: .*after merge_state"):
        one.update(case.video[16:18], [16, 17])


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("offline/conse-proxy", (range(10), range(10, 24)), r"meet at frame 10,.*every 4th frame"),
        ("plain/denoised-sharpness", (range(10), range(8, 24)), "frames in common"),
        ("world/shape-iou", (range(10), range(8)), r"frame 0,.*positions"),
    ],
)
def test_pieces_that_are_not_the_whole_are_refused_by_name(
    name: str, parts: tuple[range, range], message: str, cases: Mapping[str, Case]
) -> None:
    one, other = (cases[name].feed(cases[name].estimator(), part) for part in parts)
    with pytest.raises(ValueError, match=rf"^{name}: got a video in 2 pieces .*{message}"):
        one.merge_state(other)


def test_other_metrics_videos_and_drift_are_not_merged(cases: Mapping[str, Case]) -> None:
    first, second = (cases[name].estimator() for name in ("plain/denoised-sharpness", "plain/no-known-shape"))
    with pytest.raises(ValueError, match=r"UndefinedAnatomy, expected a DenoisedSharpness"):
        first.merge_state(second)
    kind = type(first)
    with pytest.raises(ValueError, match=r"^plain/denoised-sharpness: .*two videos, prompt='' and 'a cat'"):
        kind(About()).merge_state(kind(About(prompt="a cat")))
    with pytest.raises(ValueError, match="drift of plain/denoised-sharpness"):
        Drift(kind, [segment(8)]).merge_state(Drift(kind, [segment(8)]))
