"""MUSIQ against pyiqa, the implementation that VBench runs.

The reference figures are those of pyiqa 0.1.16 (0.1.10, which VBench pins, gives the same), filled with the
weights of `seeded_weights`, on frames that torchvision resized as VBench does.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fp_metrics.families.paper import PAPER
from fp_metrics.networks import musiq
from fp_metrics.weights import MissingWeights, weights_path
from seeded_weights import picture, seeded_state

LAYOUT = (248, 27_125_825, 3_523_639_143)
"""pyiqa's state: tensors, numbers, CRC-32 of its names and shapes."""
REFERENCE = ((64, 64, -0.464364), (97, 211, -0.491284), (131, 523, -0.878863))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[musiq.Musiq]:
    """MUSIQ of full size, loaded from a file like the published one."""
    path = tmp_path_factory.mktemp("musiq") / "musiq.pth"
    torch.save(seeded_state(musiq.Musiq().state_dict()), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(musiq, "weights_path", lambda name: {musiq.ARTIFACT: path}[name])
        musiq.musiq_spaq.cache_clear()
        yield musiq.musiq_spaq(torch.device("cpu"))
        musiq.musiq_spaq.cache_clear()
    path.unlink()


@pytest.mark.parametrize(("height", "width", "expected"), REFERENCE)
def test_the_estimator_gives_the_reference_figures(
    network: musiq.Musiq, height: int, width: int, expected: float
) -> None:
    estimator = PAPER["paper/musiq-spaq"]()
    estimator.update(picture(height, width, seed=height))
    assert estimator.compute().values.tolist() == pytest.approx([expected], abs=2e-5)


def test_a_batch_is_rated_frame_by_frame_and_averaged(network: musiq.Musiq) -> None:
    frames = torch.cat([picture(72, 48, seed) for seed in range(3)])
    with torch.inference_mode():
        alone = [float(network(frame[None])[0]) for frame in frames]
    estimator = PAPER["paper/musiq-spaq"]()
    estimator.update(frames)
    series = estimator.compute()
    np.testing.assert_allclose(series.values, alone, atol=1e-5)
    assert series.score == pytest.approx(sum(alone) / 3, abs=1e-5)
    assert len({round(value, 3) for value in alone}) == 3


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    state = musiq.Musiq().state_dict()
    listed = "\n".join(sorted(f"{name} {tuple(value.shape)}" for name, value in state.items()))
    numbers = sum(value.numel() for value in state.values())
    assert (len(state), numbers, zlib.crc32(listed.encode())) == LAYOUT


def test_another_file_is_refused_and_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "other.pth"
    torch.save({"head.weight": torch.zeros(10, 384), "head.scale": torch.zeros(1)}, path)
    monkeypatch.setattr(musiq, "weights_path", lambda name: path)
    musiq.musiq_spaq.cache_clear()
    expected = (
        r"other\.pth does not fit Musiq; missing: .* and 243 more; unknown: head\.scale; "
        r"of another shape: head\.weight \(10, 384\) instead of \(1, 384\)"
    )
    with pytest.raises(ValueError, match=expected):
        musiq.musiq_spaq(torch.device("cpu"))


def test_missing_weights_are_named_at_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(musiq, "weights_path", weights_path)
    musiq.musiq_spaq.cache_clear()
    estimator = PAPER["paper/musiq-spaq"]()
    with pytest.raises(MissingWeights, match="musiq-spaq"):
        estimator.update(picture(32, 32))


@pytest.mark.parametrize("rows", range(1, 24))
def test_positions_are_hashed_to_the_nearest_cell_below(rows: int) -> None:
    columns = 25 - rows
    expected = [10 * (y * 10 // rows) + x * 10 // columns for y in range(rows) for x in range(columns)]
    assert musiq.hashed_positions(rows, columns).tolist() == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(32, 7, 2), (16, 3, 2), (8, 3, 1), (33, 32, 32), (5, 1, 1)]
)
def test_padding_is_tensorflows_same(size: int, kernel: int, stride: int) -> None:
    padded = musiq.pad_same(torch.ones(1, 1, size, size + 1), kernel, stride)[0, 0]
    for length, line in ((size, padded.amax(1)), (size + 1, padded.amax(0))):
        outside = math.ceil(length / stride)
        total = max((outside - 1) * stride + kernel - length, 0)
        assert line.tolist() == [0.0] * (total // 2) + [1.0] * length + [0.0] * (total - total // 2)


def test_kernels_are_standardised_by_the_unbiased_deviation() -> None:
    conv = musiq.StandardisedConv(5, 4, 1)
    kernel = (
        conv(torch.eye(5)[:, :, None, None])[:, :, 0, 0].T.detach().numpy()
    )  # what each channel alone gives
    np.testing.assert_allclose(kernel.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(kernel.std(1, ddof=1), 1, atol=1e-3)


def test_patches_tile_the_picture_row_by_row() -> None:
    frames = picture(70, 40)
    cut = musiq.patches(frames)
    assert cut.shape == (1, 6, 3, 32, 32)
    whole = torch.cat([torch.cat(tuple(cut[0, row : row + 2]), dim=2) for row in (0, 2, 4)], dim=1)
    assert torch.equal(whole[:, 13:83, 12:52], frames[0])  # 96 - 70 = 26 and 64 - 40 = 24 pixels are missing
    assert whole.sum() == pytest.approx(float(frames.sum()), rel=1e-6)


@pytest.mark.parametrize(
    ("size", "longer", "expected"), [((97, 211), 224, (103, 224)), ((512, 287), 384, (384, 215))]
)
def test_smaller_pictures_keep_the_shape(
    size: tuple[int, int], longer: int, expected: tuple[int, int]
) -> None:
    assert musiq.resized(picture(*size), longer).shape[-2:] == expected
