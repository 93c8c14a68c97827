"""RAFT against its authors' code, and VBench's dynamic degree around it.

The reference flow is that of princeton-vl/RAFT (20 iterations, its InputPadder), filled with the weights of
`seeded_weights` under its own names, with a flow head a fiftieth as large: random flow must not leave the
picture.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models.optical_flow import raft_large as architecture

from fp_metrics import FAMILIES, About, score_video
from fp_metrics.families.paper import PAPER, PAPER_VBENCH_COMPAT, dynamic
from fp_metrics.networks import raft
from fp_metrics.observer import Unmeasurable
from fp_metrics.weights import MissingWeights, weights_path
from seeded_weights import picture, seeded

TOP = 3.2135897
FLOW = (
    (1.1699767, 1.5066144, 1.2214265, 0.1156066),
    (1.6177499, 2.4964814, 2.6250348, 0.4334348),
    (1.2615520, 2.3097453, 2.3681946, 0.6500158),
    (0.7273761, 0.9562889, 0.8806863, 0.1332300),
)
"""The horizontal flow at every 45th row and 47th column of 136x144 pixels."""
AUTHORS_NAMES = (
    (r"^feature_encoder\.", "fnet."),
    (r"^context_encoder\.", "cnet."),
    (r"^(.net)\.convnormrelu\.0\.", r"\1.conv1."),
    (r"^(.net)\.convnormrelu\.1\.", r"\1.norm1."),
    (r"^(.net)\.conv\.", r"\1.conv2."),
    (r"\.convnormrelu(\d)\.0\.", r".conv\1."),
    (r"\.convnormrelu(\d)\.1\.", r".norm\1."),
    (r"motion_encoder\.convcorr(\d)\.0", r"encoder.convc\1"),
    (r"motion_encoder\.convflow(\d)\.0", r"encoder.convf\1"),
    (r"motion_encoder\.conv\.0", r"encoder.conv"),
    (r"recurrent_block\.convgru(\d)\.conv([zrq])", r"gru.conv\2\1"),
    (r"^mask_predictor\.convrelu\.0", "update_block.mask.0"),
    (r"^mask_predictor\.conv", "update_block.mask.2"),
)
"""Torchvision's names -> the authors'."""


def authors_name(name: str) -> str:
    for pattern, replacement in AUTHORS_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nn.Module]:
    """RAFT-large from a file like the published one."""
    state = {
        name: seeded(authors_name(name), v) for name, v in architecture(weights=None).state_dict().items()
    }
    for name in ("weight", "bias"):
        state[f"update_block.flow_head.conv2.{name}"] *= 0.02
    path = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save(state, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raft, "weights_path", lambda name: {raft.ARTIFACT: path}[name])
        raft.raft_large.cache_clear()
        yield raft.raft_large(torch.device("cpu"))
        raft.raft_large.cache_clear()


def pair() -> Tensor:
    """Two frames whose sides are no multiples of 8."""
    return torch.cat((picture(130, 141, 1), picture(130, 141, 2).roll((2, 3), (2, 3))))


def test_the_flow_is_the_authors(network: nn.Module) -> None:
    first, second = pair()[:, None]
    flow = raft.raft_flow(network, first, second)
    assert flow.shape == (1, 2, 136, 144)
    np.testing.assert_allclose(flow[0, 0, ::45, ::47], FLOW, atol=2e-5)


def test_the_estimator_reads_the_largest_of_it(network: nn.Module) -> None:
    estimator = PAPER["paper/raft-top5-flow"](About(fps=8))
    estimator.update(pair())
    assert estimator.compute().score == pytest.approx(100 * TOP / 130, abs=1e-4)


def test_borders_are_replicated_the_odd_pixel_last() -> None:
    frames = picture(21, 16)
    padded = raft.pad_to_stride(frames)
    assert padded.shape == (1, 3, 24, 16)
    assert torch.equal(padded[..., 1:22, :], frames)
    for row, edge in ((0, 0), (22, -1), (23, -1)):
        assert torch.equal(padded[..., row, :], frames[..., edge, :])


class Difference(nn.Module):
    """As flow: the difference of the frames' means, and how many pairs came at once."""

    def forward(self, first: Tensor, second: Tensor, num_flow_updates: int) -> list[Tensor]:
        assert num_flow_updates == 20
        assert first.amin() >= -1
        moved = (second - first).mean((1, 2, 3))[:, None, None]
        last = torch.stack((moved.expand(first[:, 0].shape), torch.full_like(first[:, 0], len(first))), dim=1)
        return [torch.zeros_like(last)] * 19 + [last]


def test_large_batches_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.cat([picture(128, 128, seed) * (1 - 0.1 * seed) for seed in range(4)])
    together = raft.raft_flow(Difference(), frames[:3], frames[1:])
    monkeypatch.setattr(raft, "MOST_CORRELATIONS", 2 * 16**4)
    split = raft.raft_flow(Difference(), frames[:3], frames[1:])
    assert split[:, 1, 0, 0].tolist() == [2, 2, 1]
    assert together[:, 1, 0, 0].tolist() == [3, 3, 3]
    torch.testing.assert_close(split[:, 0], together[:, 0])
    expected = 2 * (frames[1:].mean((1, 2, 3)) - frames[:3].mean((1, 2, 3)))
    torch.testing.assert_close(split[:, 0, 64, 64], expected)
    assert raft.pairs_at_once(720, 1280) == 2**28 // (90 * 160) ** 2 == 1
    assert raft.pairs_at_once(4000, 4000) == 1


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """Flow that is told by the frames: as long as the second one's first pixel says, in 256ths of 64 pixels.

    Returns the first pixels of each pair that was compared.
    """
    pairs: list[tuple[float, float]] = []

    def told(network: object, first: Tensor, second: Tensor) -> Tensor:
        pairs.extend(zip(first[:, 0, 0, 0].tolist(), second[:, 0, 0, 0].tolist(), strict=True))
        flow = torch.zeros(len(first), 2, 40, 50)
        flow[:, 0, :10, :10] = 64 * second[:, 0, 0, 0][:, None, None]  # 5 % of 2000
        return flow

    monkeypatch.setattr(dynamic, "raft_flow", told)
    monkeypatch.setattr(dynamic, "raft_large", lambda device: None)
    return pairs


def telling(*lengths: float, height: int = 128, width: int = 160) -> Tensor:
    """Frames that tell how far they have moved, in pixels."""
    return torch.stack([torch.full((3, height, width), length / 64) for length in lengths])


@pytest.mark.parametrize(("fps", "interval"), [(6, 1), (8, 1), (24, 3), (30, 4), (60, 8)])
def test_frames_an_eighth_of_a_second_apart_are_compared(
    seen: list[tuple[float, float]], fps: float, interval: int
) -> None:
    estimator = PAPER["paper/raft-dynamic-degree"](About(fps=fps))
    estimator.update(telling(*range(30)))
    samples = [sample / 64 for sample in range(0, 30, interval)]
    assert seen == list(itertools.pairwise(samples))
    assert estimator.least_frames == 2 * interval + 1
    assert (
        PAPER_VBENCH_COMPAT["paper_vbench_compat/raft-dynamic-degree"](About(fps=fps)).least_frames
        == interval + 1
    )


@pytest.mark.parametrize(("height", "width"), [(128, 160), (192, 128), (256, 256)])
def test_a_pair_moves_above_the_threshold_only(
    seen: list[tuple[float, float]], height: int, width: int
) -> None:
    threshold = 6 * min(height, width) / 256
    estimator = PAPER["paper/raft-dynamic-degree"](About(fps=8))
    estimator.update(
        telling(0, threshold, threshold * 1.0001, threshold * 0.9999, height=height, width=width)
    )
    assert estimator.compute().values.tolist() == [0, 1, 0]


@pytest.mark.parametrize(("sampled", "moving"), [(3, 1), (6, 2), (10, 2), (16, 4), (17, 4), (18, 4), (22, 6)])
def test_a_quarter_of_the_sampled_frames_must_move(
    seen: list[tuple[float, float]], sampled: int, moving: int
) -> None:
    for count, expected in ((moving - 1, 0), (moving, 1)):
        estimator = PAPER["paper/raft-dynamic-degree"](About(fps=8))
        estimator.update(telling(*[0.0] * (sampled - count), *[10.0] * count))
        assert estimator.compute().score == expected


def test_two_sampled_frames_are_undefined_and_move_in_the_public_code(
    seen: list[tuple[float, float]],
) -> None:
    still = telling(0, 0)
    ours, published = (
        family[f"{name}/raft-dynamic-degree"](About(fps=8))
        for name, family in (("paper", PAPER), ("paper_vbench_compat", PAPER_VBENCH_COMPAT))
    )
    ours.update(still)
    published.update(still)
    assert ours.compute().reason == "needs at least 3 frame(s), got 2"
    assert published.compute().score == 1
    published.reset()
    published.update(telling(0, 0, 0))
    assert published.compute().score == 0


def test_the_continuous_figure_is_relative_to_the_shorter_side(seen: list[tuple[float, float]]) -> None:
    estimator = PAPER["paper/raft-top5-flow"](About(fps=8))
    estimator.update(telling(0, 6, 32, height=256, width=400))
    np.testing.assert_allclose(estimator.compute().values, [600 / 256, 3200 / 256], rtol=1e-6)


def test_both_estimators_share_one_look(
    seen: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamic_kinds = {name: kind for name, kind in PAPER.items() if kind.score == "dynamic"}
    monkeypatch.setitem(FAMILIES, "paper", dynamic_kinds)
    result = score_video(
        telling(*[0.0] * 10, *[6.0] * 10), length=20, families=("paper",), about=About(fps=8)
    )
    assert len(seen) == 19
    assert set(result.series) == {"paper/raft-dynamic-degree", "paper/raft-top5-flow"}
    assert result.drift["paper/raft-top5-flow"].signed == pytest.approx(100 * 6 / 128)
    assert result.drift["paper/raft-dynamic-degree"].signed == 1


def test_frames_too_small_for_raft_are_unmeasurable_not_zero(seen: list[tuple[float, float]]) -> None:
    with pytest.raises(Unmeasurable, match="128x128 pixels, got 120x160"):
        PAPER["paper/raft-top5-flow"](About(fps=8)).update(telling(0, 0, height=120))


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "raft.pth"
    state = architecture(weights=None).state_dict()
    state["extra"] = state.pop("mask_predictor.conv.bias")
    torch.save(state, path)
    monkeypatch.setattr(raft, "weights_path", lambda name: path)
    raft.raft_large.cache_clear()
    with pytest.raises(ValueError, match=r"\bRAFT; missing: mask_predictor\.conv\.bias; unknown: extra"):
        raft.raft_large(torch.device("cpu"))


def test_missing_weights_are_named_at_the_first_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(raft, "weights_path", weights_path)
    raft.raft_large.cache_clear()
    with pytest.raises(MissingWeights, match="raft-large"):
        PAPER["paper/raft-top5-flow"](About(fps=8)).update(telling(0, 0))
