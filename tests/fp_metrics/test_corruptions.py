"""A corruption moves the score it should move, the stronger the further, and leaves unrelated ones alone."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from fp_metrics import FAMILIES, About, Series, WorldTruth

Measure = Callable[..., Series]
Corruption = Callable[[Tensor, float], Tensor]


def blur(video: Tensor, strength: float) -> Tensor:
    return gaussian_blur(video, [9, 9], [strength, strength]) if strength else video


def noise(video: Tensor, strength: float) -> Tensor:
    white = torch.randn(video.shape, generator=torch.Generator().manual_seed(0))
    return (video + strength * white).clamp(0, 1)


def wash_out(video: Tensor, strength: float) -> Tensor:
    return video * (1 - strength) + 0.5 * strength


def growing_cast(video: Tensor, strength: float) -> Tensor:
    ramp = torch.linspace(0, strength, len(video))[:, None, None]
    cast = video.clone()
    cast[:, 0] = (cast[:, 0] + ramp).clamp(0, 1)
    cast[:, 2] = (cast[:, 2] - ramp).clamp(0, 1)
    return cast


def freeze(video: Tensor, strength: float) -> Tensor:
    moving = round((1 - strength) * len(video))
    return torch.cat((video[:moving], video[moving : moving + 1].expand(len(video) - moving, -1, -1, -1)))


def shuffle(video: Tensor, strength: float) -> Tensor:
    """A share of all frames change places at random."""
    generator = torch.Generator().manual_seed(3)
    chosen = torch.randperm(len(video), generator=generator)[: round(strength * len(video))].sort().values
    order = torch.arange(len(video))
    order[chosen] = chosen[torch.randperm(len(chosen), generator=generator)]
    return video[order]


MONOTONE: list[tuple[str, Corruption, tuple[float, ...]]] = [
    ("plain/denoised-sharpness", blur, (0, 0.8, 2)),
    ("world/render-sharpness", blur, (0, 0.8, 2)),
    ("plain/denoised-sharpness", noise, (0, 0.02, 0.08)),
    ("world/render-sharpness", noise, (0, 0.02, 0.08)),
    ("plain/dis-middle-frame", noise, (0, 0.02, 0.08)),
    ("plain/colourfulness-contrast", wash_out, (0, 0.3, 0.7)),
    ("world/colourfulness-contrast", wash_out, (0, 0.3, 0.7)),
    ("plain/hog-colour-to-first", growing_cast, (0, 0.15, 0.4)),
    ("world/look-against-first", growing_cast, (0, 0.15, 0.4)),
    ("plain/dis-top5-flow", freeze, (0, 0.4, 0.8)),
    ("world/speed-reached", freeze, (0, 0.4, 0.8)),
    ("world/caption-readback", freeze, (0, 0.4, 0.8)),
    ("plain/dis-middle-frame", shuffle, (0, 0.3, 1)),
    ("world/centre-smoothness", shuffle, (0, 0.3, 1)),
]


@pytest.mark.parametrize(
    ("name", "corrupt", "strengths"), MONOTONE, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_a_stronger_corruption_scores_lower(
    name: str, corrupt: Corruption, strengths: tuple[float, ...], video: Tensor, measure: Measure
) -> None:
    scores = [measure(name, corrupt(video, strength)).score for strength in strengths]
    assert all(stronger < weaker - 1e-4 for weaker, stronger in itertools.pairwise(scores)), scores


def test_steady_motion_is_smooth_because_flow_carries_it(video: Tensor, measure: Measure) -> None:
    averaged = (video[:-2] + video[2:]) / 2
    roughness_without_flow = float((video[1:-1] - averaged).abs().mean())
    assert 1 - measure("plain/dis-middle-frame", video).score < 0.6 * roughness_without_flow


UNRELATED: list[tuple[str, Corruption, float, float]] = [
    ("world/caption-readback", noise, 0.03, 0.05),
    ("world/shape-iou", noise, 0.03, 0.1),
    ("world/shape-iou", freeze, 0.8, 0.05),
    ("world/look-against-first", freeze, 0.8, 0.02),
    ("world/look-against-first", shuffle, 1.0, 0.01),
    ("plain/denoised-sharpness", freeze, 0.8, 0.02),
    ("plain/colourfulness-contrast", noise, 0.03, 0.02),
    ("world/speed-reached", noise, 0.03, 0.1),
]


@pytest.mark.parametrize(
    ("name", "corrupt", "strength", "tolerance"), UNRELATED, ids=lambda v: getattr(v, "__name__", str(v))
)
def test_an_unrelated_score_stays(
    name: str, corrupt: Corruption, strength: float, tolerance: float, video: Tensor, measure: Measure
) -> None:
    assert measure(name, corrupt(video, strength)).score == pytest.approx(
        measure(name, video).score, abs=tolerance
    )


def without_object(truth: WorldTruth, video: Tensor, first: int) -> Tensor:
    background = truth.backgrounds[0].movedim(-1, 0).float() / 255
    return torch.cat((video[:first], background.expand(len(video) - first, -1, -1, -1)))


@pytest.mark.parametrize(
    "name",
    [
        "world/shape-iou",
        "world/look-against-first",
        "world/caption-readback",
        "world/centre-smoothness",
        "world/speed-reached",
    ],
)
def test_a_vanished_object_scores_zero(name: str, truth: WorldTruth, video: Tensor, measure: Measure) -> None:
    gone = measure(name, noise(without_object(truth, video, 12), 0.01))
    before, after = gone.values[gone.positions < 10], gone.values[gone.positions > 13]
    assert (after == 0).all()
    assert np.nanmin(before) > 0.6
    assert gone.score < 0.65


def test_a_fading_object_loses_its_look_before_it_vanishes(
    truth: WorldTruth, video: Tensor, measure: Measure
) -> None:
    background = truth.backgrounds[0].movedim(-1, 0).float() / 255
    looks = [
        measure("world/look-against-first", background + (video[:6] - background) * visible).score
        for visible in (1.0, 0.6, 0.3, 0.0)
    ]
    assert looks[0] > looks[1] > looks[2] > looks[3] == 0


@pytest.mark.parametrize(
    "name", ["world/look-against-first", "plain/hog-colour-to-first", "world/caption-readback"]
)
def test_an_identity_swapped_halfway_is_seen(
    name: str, render: Callable[..., WorldTruth], video: Tensor, measure: Measure
) -> None:
    other = render(colour=2).frames.movedim(-1, 1).float() / 255
    swapped = measure(name, torch.cat((video[:12], other[12:])))
    kept = measure(name, video)
    assert swapped.values[swapped.positions >= 13].mean() < kept.values[kept.positions >= 13].mean() - 0.03
    np.testing.assert_array_equal(swapped.values[swapped.positions < 11], kept.values[kept.positions < 11])


def test_a_swapped_colour_is_no_matter_of_shape(
    render: Callable[..., WorldTruth], video: Tensor, measure: Measure
) -> None:
    other = render(colour=2).frames.movedim(-1, 1).float() / 255
    assert measure("world/shape-iou", other).score > 0.9


def test_a_squashed_object_is_malformed(
    render: Callable[..., WorldTruth], video: Tensor, measure: Measure
) -> None:
    overlaps = [
        measure("world/shape-iou", render(squash=s).frames[:6].movedim(-1, 1).float() / 255).score
        for s in (1.0, 0.75, 0.5)
    ]
    assert overlaps[0] > 0.98
    assert overlaps[1] == pytest.approx(0.75, abs=0.06)  # an inscribed ellipse
    assert overlaps[2] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("world/render-sharpness", 0.999),
        ("world/shape-iou", 0.999),
        ("world/look-against-first", 0.98),
        ("world/caption-readback", 0.999),
        ("world/speed-reached", 0.97),
        ("world/centre-smoothness", 0.85),
    ],
)
def test_the_true_video_scores_full_marks(name: str, least: float, video: Tensor, measure: Measure) -> None:
    assert measure(name, video).score >= least


def test_a_truly_hidden_object_is_undefined_not_zero(truth: WorldTruth, video: Tensor) -> None:
    masks = truth.masks.clone()
    masks[3:6] = False
    hidden = FAMILIES["world"]["world/shape-iou"](About(truth=replace(truth, masks=masks)))
    hidden.update(video[:8])
    series = hidden.compute()
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [3, 4, 5]
    assert np.isfinite(series.score)
    assert series.coverage == pytest.approx(5 / 8)
