"""What is done to the history in training and told to the model."""

import pytest
import torch

from fp_lab.flow.history_noise import HistoryConfig, draw_corruption, draw_levels, with_noise, without
from fp_lab.recipe import BASE
from fp_lab.shapes import ContextLevel

LATENTS = torch.randn(64, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def corrupt(latents: torch.Tensor, config: HistoryConfig, generator: torch.Generator) -> torch.Tensor:
    return draw_corruption(latents, config, generator)(latents)


def level(items: int = 64) -> ContextLevel:
    return ContextLevel(BASE, LATENTS[:items], torch.arange(4).expand(items, -1), torch.ones(items, 4).bool())


def test_noise_is_mixed_in_up_to_its_level_and_a_share_stays_clean() -> None:
    noisy = corrupt(LATENTS, HistoryConfig(noise=0.5, clean=0.25), generator())
    moved = (noisy - LATENTS).flatten(1).std(1)
    assert (moved == 0).float().mean().item() == pytest.approx(0.25, abs=0.12)
    assert moved.max() < 0.5 * 2**0.5 * 1.1
    assert moved[moved > 0].std() > 0.05, "a level per video"
    assert torch.equal(noisy, corrupt(LATENTS, HistoryConfig(noise=0.5, clean=0.25), generator()))


def test_saturation_stretches_each_frame_about_its_mean() -> None:
    stretched = corrupt(LATENTS, HistoryConfig(saturation=0.4, clean=0.0), generator())
    torch.testing.assert_close(stretched.mean((-2, -1)), LATENTS.mean((-2, -1)), atol=1e-5, rtol=1e-4)
    ratio = stretched.std((-2, -1)) / LATENTS.std((-2, -1))
    per_video = ratio.flatten(1)
    torch.testing.assert_close(per_video, per_video[:, :1].expand_as(per_video), atol=1e-4, rtol=1e-4)
    assert 0.6 <= per_video.min() < 0.8
    assert 1.2 < per_video.max() <= 1.4


def test_without_corruption_the_history_is_the_same_tensor() -> None:
    assert corrupt(LATENTS, HistoryConfig(), generator()) is LATENTS


def test_levels_follow_the_time_of_the_section() -> None:
    times = torch.linspace(0, 1, 200)
    assert torch.equal(draw_levels(times, HistoryConfig(), generator()), torch.zeros(200))
    fixed = draw_levels(times, HistoryConfig(level="fixed", sigma=0.1), generator())
    torch.testing.assert_close(fixed, 0.1 * times)
    random = draw_levels(times, HistoryConfig(level="random"), generator())
    assert (random <= times).all()
    assert (random[100:] / times[100:]).mean().item() == pytest.approx(0.5, abs=0.08)


def test_a_told_level_is_the_level_of_the_latents() -> None:
    levels, noise = torch.linspace(0, 1, 64), torch.randn(LATENTS.shape)
    (noisy,) = with_noise((level(),), levels, [noise])
    spread = levels[:, None, None, None, None]
    torch.testing.assert_close(noisy.latents, (1 - spread) * LATENTS + spread * noise)
    torch.testing.assert_close(noisy.latents[-1], noise[-1])


def test_dropped_histories_are_missing_in_the_way_that_missing_ones_are() -> None:
    dropped = torch.tensor([True, False])
    (unknown,) = without((level(2),), dropped, "drop")
    assert unknown.known.any(1).tolist() == [False, True]
    (zeros,) = without((level(2),), dropped, "zero")
    assert zeros.known.all()
    assert zeros.latents.abs().amax((1, 2, 3, 4)).gt(0).tolist() == [False, True]


@pytest.mark.parametrize("name", ["noise", "saturation", "clean", "dropout", "sigma"])
def test_shares_lie_between_nought_and_one(name: str) -> None:
    with pytest.raises(ValueError, match=rf"history\.{name}: got 1\.5"):
        HistoryConfig(**{name: 1.5})
