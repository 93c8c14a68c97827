"""LPIPS and ST-LPIPS against the published packages."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import lpips
import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor
from torchvision.models import alexnet

from fp_metrics.companions import COMPANIONS, LEARNED_COMPANIONS, Companion, Lpips, StLpips
from fp_metrics.networks import st_lpips


def picture(name: str) -> Tensor:
    pixels = getattr(skimage.data, name)()[:256, :256]
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def distance(kind: type[Companion], frames: Tensor, reference: Tensor) -> float:
    companion = kind()
    companion.update(frames, reference)
    return companion.compute().score


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Tensor]]:
    """A random AlexNet in place of the published one, in torchvision's format."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = alexnet(weights=None).state_dict()
    torch.save(state, tmp_path / "alexnet.pth")
    monkeypatch.setattr(st_lpips, "weights_path", lambda name: tmp_path / "alexnet.pth")
    monkeypatch.setattr(Lpips, "unavailable", classmethod(lambda cls: None))
    st_lpips.load_lpips.cache_clear()
    yield state
    st_lpips.load_lpips.cache_clear()


def published_lpips(state: dict[str, Tensor]) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision in an old way
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    network.net.load_state_dict(
        {name: state[f"features.{name.split('.', 1)[1]}"] for name in network.net.state_dict()}
    )
    return network


@pytest.mark.parametrize("size", [(256, 256), (145, 187), (32, 40)])
def test_lpips_equals_the_package(size: tuple[int, int], backbone: dict[str, Tensor]) -> None:
    """With a random backbone, and the trained heads that both read."""
    first, second = (picture(name)[..., : size[0], : size[1]] for name in ("astronaut", "chelsea"))
    with torch.inference_mode():
        expected = published_lpips(backbone)(first, second, normalize=True).item()
    assert expected > 0.01
    assert distance(Lpips, first, second) == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("backbone")
def test_a_batch_has_one_distance_per_pair() -> None:
    first, second = picture("astronaut"), picture("coffee")
    network = st_lpips.load_lpips()
    pairs = network(torch.cat((first, second, first)), torch.cat((first, first, second)))
    assert pairs.shape == (3,)
    assert float(pairs[0]) == 0
    torch.testing.assert_close(pairs[1], pairs[2])  # symmetric


@pytest.mark.usefixtures("offline_weights")
def test_st_lpips_equals_the_published_code() -> None:
    """Figures of stlpips-pytorch 0.0.2 with its own weights, run apart."""
    astronaut, chelsea = picture("astronaut"), picture("chelsea")
    assert distance(StLpips, astronaut, chelsea) == pytest.approx(0.7101071, abs=1e-5)
    assert distance(StLpips, astronaut, astronaut.roll(1, -1)) == pytest.approx(0.0054442, abs=1e-5)


@pytest.mark.usefixtures("offline_weights")
def test_st_lpips_grows_with_the_noise_and_forgives_a_shift() -> None:
    clean = picture("astronaut")
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    grows = [distance(StLpips, (clean + s * noise).clamp(0, 1), clean) for s in (0.0, 0.02, 0.05, 0.1, 0.2)]
    assert grows[0] == 0
    assert (np.diff(grows) > 0.02).all()
    shifted = clean.roll(1, -1)
    assert float((shifted - clean).square().mean()) > float((0.05 * noise).square().mean())
    assert distance(StLpips, shifted, clean) < grows[2] / 10


@pytest.mark.usefixtures("offline_weights")
def test_frames_are_compared_one_by_one() -> None:
    first = torch.cat((picture("astronaut"), picture("chelsea"), picture("coffee")))[..., :64, :64]
    second = first.flip(-1)
    batch, streamed = StLpips(), StLpips()
    batch.update(first, second)
    for frame, true in zip(first.split(1), second.split(1), strict=True):
        streamed.update(frame, true)
    np.testing.assert_array_equal(batch.compute().values, streamed.compute().values)
    assert batch.compute().positions.tolist() == [0, 1, 2]
    assert batch.compute().score == pytest.approx(batch.compute().values.mean())


@pytest.mark.parametrize("kind", sorted(LEARNED_COMPANIONS.values(), key=lambda kind: kind.name))
def test_missing_weights_are_a_reason_and_no_figure(
    kind: type[Companion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FP_LAB_CACHE", str(tmp_path))
    companion = kind()
    companion.update(picture("astronaut"), picture("chelsea"))
    series = companion.compute()
    assert np.isnan(series.score)
    assert series.coverage == 0
    (name,) = LEARNED_COMPANIONS[kind.name].weights
    assert series.reason is not None
    assert f"fp-lab weights get {name}" in series.reason


def test_pictures_that_vanish_in_the_pooling_are_refused() -> None:
    tiny = torch.zeros(1, 3, 31, 64)
    for network in (st_lpips.lpips_network(), st_lpips.st_lpips_network()):
        with pytest.raises(ValueError, match=r"got .*\b31x64, expected .*\b32x32\b"):
            network(tiny, tiny)


def test_those_without_weights_always_run_and_distances_are_better_low() -> None:
    assert set(COMPANIONS) == {"companion/psnr", "companion/ssim"}
    assert set(LEARNED_COMPANIONS) == {"companion/lpips", "companion/st-lpips"}
    assert not any(kind().higher_is_better for kind in LEARNED_COMPANIONS.values())


def test_another_checkpoint_is_refused(
    backbone: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del backbone["features.8.bias"]
    backbone["extra.weight"] = torch.zeros(1)
    torch.save(backbone, tmp_path / "alexnet.pth")
    with pytest.raises(ValueError, match=r"missing: slices\.3\.8\.bias; unknown: extra\.weight"):
        st_lpips.load_lpips()
