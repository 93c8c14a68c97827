import math
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.cluster import KMeans
from torch import Tensor

from fp_data.latents import to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codecs.tiny import Codec
from fp_lab.packing import codebook as codebook_module
from fp_lab.packing.codebook import Codebook, codebook_stats, fit_codebook

CENTRES = 4.0 * torch.eye(6)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mixture(centres: Tensor = CENTRES, spread: float = 0.2, seed: int = 0) -> Tensor:
    """Latents ``8 c 6 8 8`` around centres, which occur in the proportion 1 : 2 : 3 ..."""
    random = torch.Generator().manual_seed(seed)
    weights = torch.arange(1.0, len(centres) + 1)
    labels = torch.multinomial(weights, 8 * 6 * 8 * 8, replacement=True, generator=random)
    pixels = centres[labels] + spread * torch.randn(len(labels), centres.shape[1], generator=random)
    return pixels.view(8, 6, 8, 8, -1).movedim(-1, 1)


def in_chunks(latents: Tensor, videos: int = 3) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: latents.split(videos)


def pixels_of(latents: Tensor) -> Tensor:
    return latents.movedim(1, -1).flatten(0, -2)


def with_centroids(rows: list[list[float]]) -> Codebook:
    codebook = Codebook(len(rows), len(rows[0]))
    codebook.load_state_dict({"centroids": torch.tensor(rows)})
    return codebook


def relative_errors(latents: Tensor, sizes: tuple[int, ...]) -> list[float]:
    fitted = [fit_codebook(in_chunks(latents), size, seed=0) for size in sizes]
    return [codebook_stats(codebook, in_chunks(latents)()).relative_error for codebook in fitted]


@pytest.fixture(scope="module")
def world() -> tuple[Codec, Tensor]:
    """The shipped codec and latents ``8 c 16 8 8`` of rendered worlds."""
    codec = Codec.load("shipped")
    with torch.no_grad():
        return codec, codec.encode(to_pixels(render(WorldConfig(size=32, frames=16), range(8)).frames))


def test_one_centroid_is_the_mean_of_all_pixels_so_history_carries_nothing() -> None:
    latents = mixture()
    codebook = fit_codebook(in_chunks(latents), 1, seed=0)
    torch.testing.assert_close(codebook.centroids[0], pixels_of(latents).mean(0), atol=1e-5, rtol=0)
    first, second = codebook(latents[:2]), codebook(100 * noise(2, 6, 6, 8, 8))
    assert torch.equal(first, second)
    assert torch.equal(first, first[:1, :, :1, :1, :1].expand_as(first))
    stats = codebook_stats(codebook, [latents])
    assert (stats.used, stats.perplexity) == (1, 1.0)
    assert stats.relative_error == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [60, 61, 100])
def test_as_many_centroids_as_distinct_pixels_change_nothing(size: int) -> None:
    distinct = 1 + 1e-4 * noise(60, 4)  # closer to each other than |x|^2 - 2xc + |c|^2 resolves in float32
    latents = distinct[torch.arange(2 * 5 * 6 * 6) % 60].view(2, 5, 6, 6, 4).movedim(-1, 1)
    codebook = fit_codebook(in_chunks(latents, 1), size, seed=0)
    assert codebook.centroids.shape == (size, 4)
    torch.testing.assert_close(codebook(latents), latents, atol=1e-6, rtol=0)
    stats = codebook_stats(codebook, [latents])
    assert (stats.size, stats.distinct, stats.used) == (size, 60, 60)
    assert stats.relative_error == 0
    assert stats.perplexity == pytest.approx(60)


def test_one_centroid_fewer_than_distinct_pixels_still_uses_them_all() -> None:
    rare = 4 * noise(40, 4)
    latents = torch.cat([rare[:1].expand(4 * 20_000 - 39, 4), rare[1:]])[noise(80_000).argsort()]
    latents = latents.view(4, 20, 25, 40, 4).movedim(-1, 1)  # a sample of 2^14 pixels misses most rare ones
    stats = codebook_stats(fit_codebook(in_chunks(latents, 1), 39, seed=0), [latents])
    assert stats.used == stats.distinct == 39


def test_more_centroids_err_less(world: tuple[Codec, Tensor]) -> None:
    for latents in mixture(noise(300, 8), spread=0.3), world[1]:
        errors = relative_errors(latents, (1, 4, 16, 64))
        assert all(less < 0.9 * more for more, less in pairwise(errors))


def test_well_separated_centres_are_recovered() -> None:
    codebook = fit_codebook(in_chunks(mixture()), 6, seed=0)
    order = codebook.centroids.argmax(1).argsort()
    torch.testing.assert_close(codebook.centroids[order], CENTRES, atol=0.05, rtol=0)


def test_the_fit_is_as_good_as_lloyds_algorithm_and_better_than_pixels_at_random(
    world: tuple[Codec, Tensor],
) -> None:
    latents = world[1]
    pixels = pixels_of(latents)
    fitted = fit_codebook(in_chunks(latents), 64, seed=0)
    error = codebook_stats(fitted, [latents]).error
    lloyd = KMeans(64, n_init=1, random_state=0).fit(pixels.numpy())
    assert error < 1.04 * lloyd.inertia_ / pixels.numel()
    drawn = Codebook(64, latents.shape[1])
    drawn.load_state_dict(
        {"centroids": pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))[:64]]}
    )
    assert error < 0.8 * codebook_stats(drawn, [latents]).error


def test_the_order_of_the_data_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebook_module, "_MINIBATCH", 256)
    fade = torch.linspace(0, 1, 8 * 4 * 20 * 20).view(8, 1, 4, 20, 20)
    fitted = [fit_codebook(in_chunks(fade), 8, seed=seed, passes=1) for seed in range(4)]
    errors = [codebook_stats(codebook, [fade]).relative_error for codebook in fitted]
    best = 1 / 8**2  # eight equal steps; minibatches in the order of the data come to 1.09 of it
    assert best <= sum(errors) / 4 < 1.05 * best


def test_pixels_go_where_scikit_learn_and_brute_force_send_them() -> None:
    latents = noise(3, 5, 4, 6, 7)
    kmeans = KMeans(20, n_init=1, max_iter=3, random_state=0).fit(
        pixels_of(noise(9, 5, 4, 6, 7, seed=1)).numpy()
    )
    codebook = with_centroids(kmeans.cluster_centers_.tolist())
    indices = codebook.indices(latents)
    assert (indices.dtype, indices.shape) == (torch.int64, (3, 4, 6, 7))
    np.testing.assert_array_equal(indices.flatten().numpy(), kmeans.predict(pixels_of(latents).numpy()))
    squares = (pixels_of(latents)[:, None].double() - codebook.centroids.double()).square().sum(-1)
    assert torch.equal(indices.flatten(), squares.argmin(1))
    expected = codebook.centroids[squares.argmin(1)].view(3, 4, 6, 7, 5).movedim(-1, 1)
    assert torch.equal(codebook(latents), expected)


def test_equal_distances_go_to_the_lowest_index() -> None:
    codebook = with_centroids([[9.0], [1.0], [-1.0], [1.0], [-1.0]])
    assert codebook.indices(torch.tensor([0.0, 2.0, -2.0]).view(1, 1, 3, 1, 1)).flatten().tolist() == [
        1,
        1,
        2,
    ]


@pytest.mark.parametrize("pairs", [1, 100, 4096])
def test_the_distances_held_at_once_do_not_change_indices(
    pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    codebook = with_centroids(noise(30, 4).tolist())
    latents = noise(2, 4, 3, 5, 5, seed=1)
    whole = codebook.indices(latents)
    monkeypatch.setattr(codebook_module, "_PAIRS_AT_ONCE", pairs)
    assert torch.equal(codebook.indices(latents), whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_of_the_latents_is_kept_and_no_gradient_flows(dtype: torch.dtype) -> None:
    codebook = with_centroids(noise(30, 4).tolist())
    latents = noise(2, 4, 3, 5, 5, seed=1).to(dtype).requires_grad_()
    discrete = codebook(latents)
    assert (discrete.dtype, discrete.requires_grad) == (dtype, False)
    torch.testing.assert_close(discrete, codebook(latents.float()).to(dtype))
    assert not list(codebook.parameters())


def test_fits_take_latents_of_any_type_with_gradients() -> None:
    latents = mixture().bfloat16()
    fitted = [
        fit_codebook(in_chunks(given), 4, seed=0) for given in (latents.requires_grad_(), latents.float())
    ]
    assert torch.equal(fitted[0].centroids, fitted[1].centroids)
    assert fitted[0].centroids.dtype == torch.float32
    assert codebook_stats(fitted[0], [latents]) == codebook_stats(fitted[1], [latents.float()])


def test_discretising_twice_is_discretising_once() -> None:
    codebook = fit_codebook(in_chunks(mixture()), 16, seed=0)
    once = codebook(mixture(seed=1))
    assert torch.equal(codebook(once), once)


def test_a_history_without_frames_stays_one() -> None:
    assert with_centroids([[1.0, 2.0]])(torch.zeros(2, 2, 0, 4, 4)).shape == (2, 2, 0, 4, 4)


@pytest.mark.parametrize("shuffled_at_once", [2**18, 500])
def test_the_same_chunks_and_seed_give_the_same_bits(
    shuffled_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codebook_module, "_SHUFFLED_AT_ONCE", shuffled_at_once)
    latents = mixture(noise(50, 6))
    torch.manual_seed(1)
    np.random.seed(1)
    first = fit_codebook(in_chunks(latents), 16, seed=3).centroids
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(fit_codebook(in_chunks(latents), 16, seed=3).centroids, first)
    assert not torch.equal(fit_codebook(in_chunks(latents), 16, seed=4).centroids, first)


def test_usage_perplexity_and_error_by_hand_with_a_dead_centroid() -> None:
    codebook = with_centroids([[0.0, 0.0], [50.0, 50.0], [4.0, 0.0], [0.0, 0.0]])
    pixels = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0], [4.0, 2.0]])
    latents = pixels.view(1, 1, 2, 2, 2).movedim(-1, 1)
    stats = codebook_stats(codebook, [latents, latents])
    assert (stats.size, stats.distinct, stats.used, stats.usage) == (4, 3, 2, 0.5)
    assert stats.perplexity == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert stats.error == pytest.approx((1 + 1 + 4) / 8)
    assert stats.relative_error == pytest.approx(0.75 / pixels.var(0, correction=0).mean().item())


def test_latents_without_variance_have_a_relative_error_of_zero_or_infinity() -> None:
    constant = torch.full((1, 1, 2, 2, 2), 3.0)
    assert codebook_stats(with_centroids([[3.0]]), [constant]).relative_error == 0
    assert codebook_stats(with_centroids([[2.0]]), [constant]).relative_error == math.inf


def test_stats_do_not_depend_on_the_chunks() -> None:
    latents = mixture()
    codebook = fit_codebook(in_chunks(latents), 16, seed=0)
    whole, parts = (codebook_stats(codebook, latents.split(videos)) for videos in (8, 1))
    assert (whole.used, whole.perplexity) == (parts.used, parts.perplexity)
    assert (whole.error, whole.relative_error) == pytest.approx((parts.error, parts.relative_error))


def test_no_more_than_two_chunks_live_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codebook_module, "_SHUFFLED_AT_ONCE", 1)
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = []

    def chunks() -> Iterator[Tensor]:
        for seed in range(6):
            latents = noise(1, 4, 3, 8, 8, seed=seed)
            alive.add(latents)
            most.append(len(alive))
            yield latents
            del latents

    fit_codebook(chunks, 4, seed=0, passes=2)
    assert len(most) == 3 * 6
    assert max(most) <= 2


@pytest.mark.parametrize("size", [4, 10_000])
def test_progress_ends_with_every_chunk_of_every_pass(size: int) -> None:
    seen: list[tuple[int, int]] = []
    fit_codebook(in_chunks(mixture()), size, seed=0, passes=2, progress=lambda *done: seen.append(done))
    assert seen == ([(done, 9) for done in range(3, 10)] if size == 4 else [(3, 9), (9, 9)])


def test_a_state_dict_restores_the_codebook(tmp_path: Path) -> None:
    codebook = fit_codebook(in_chunks(mixture()), 16, seed=0)
    restored = Codebook(16, 6)
    save_file(codebook.state_dict(), tmp_path / "codebook.safetensors")
    restored.load_state_dict(load_file(tmp_path / "codebook.safetensors"))
    assert list(codebook.state_dict()) == ["centroids"]
    latents = mixture(seed=1)
    assert torch.equal(restored(latents), codebook(latents))
    with pytest.raises(RuntimeError, match="size mismatch"):
        Codebook(17, 6).load_state_dict(codebook.state_dict())


def test_discretised_worlds_still_decode_to_what_they_show(world: tuple[Codec, Tensor]) -> None:
    codec, latents = world
    decoded = codec.decode(latents[:2, :, ::4])
    quality = []
    for size in 1, 16, 256:
        discrete = fit_codebook(in_chunks(latents), size, seed=0)(latents[:2, :, ::4])
        error = (codec.decode(discrete) - decoded).square().mean().item()
        quality.append(10 * math.log10(4 / error))
    assert quality[0] + 2 < quality[1]
    assert quality[1] + 2 < quality[2]
    assert quality[2] > 20


def test_errors_say_what_came_and_what_was_expected() -> None:
    latents = mixture()
    spoilt = latents.clone()
    spoilt[0, 0, 0, 0, :2] = torch.tensor([math.nan, math.inf])
    codebook = fit_codebook(in_chunks(latents), 4, seed=0)
    with pytest.raises(ValueError, match=r"got 0 centroids .*4 passes"):
        fit_codebook(in_chunks(latents), 0, seed=0)
    with pytest.raises(ValueError, match=r"got 3 centroids .*0 passes"):
        fit_codebook(in_chunks(latents), 3, seed=0, passes=0)
    with pytest.raises(ValueError, match=r"codebook: got .*\bpixels .*\b0 chunks"):
        fit_codebook(lambda: [], 3, seed=0)
    with pytest.raises(ValueError, match=r"\(8, 5, 6, 8, 8\), expected .*\b6 channels"):
        fit_codebook(lambda: [latents, latents[:, :5]], 3, seed=0)
    with pytest.raises(ValueError, match=r"\(8, 6, 8, 8\), expected"):
        fit_codebook(lambda: [latents[:, :, 0]], 3, seed=0)
    with pytest.raises(ValueError, match=r"\b2 of 18432 .*NaN\b"):
        fit_codebook(lambda: [spoilt], 3, seed=0)
    once = iter(latents.split(2))
    with pytest.raises(ValueError, match=r"chunks .*\b0 pixels .*3072\b"):
        fit_codebook(lambda: once, 3, seed=0)
    with pytest.raises(ValueError, match=r"0 centroids .*\b6 channels"):
        Codebook(0, 6)
    with pytest.raises(ValueError, match="with 6 channels"):
        codebook(latents[:, :5])
    with pytest.raises(ValueError, match=r"\b2 of 18432 .*NaN\b"):
        codebook(spoilt)
    with pytest.raises(ValueError, match=r"expected .*fit_codebook"):
        Codebook(4, 6)(latents)
    with pytest.raises(ValueError, match=r"codebook: got .*\bpixels, expected"):
        codebook_stats(codebook, [])


def test_scikit_learn_is_imported_by_fits_alone() -> None:
    command = "import sys, fp_lab.packing.codebook; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
