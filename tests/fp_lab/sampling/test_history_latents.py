import math

import pytest
import torch
from torch import Tensor

from fp_lab.codecs.protocol import LatentCodec
from fp_lab.recipe.lengths import stretches
from fp_lab.sampling.history_latents import AdaptiveConfig, DriftBand, HistoryLatents, reencoded
from fp_lab.sampling.seeds import seeded_noise
from tiny_conditions import normal


class Fourfold(LatentCodec):
    """Four pixel frames of one latent frame, but for the first; the first of a stretch comes back doubled."""

    channels, spatial, temporal, sha256, encoder_sha256 = 4, 1, 4, "", ""  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[int] = []

    def decode(self, latents: Tensor, *, clamp: bool = True) -> Tensor:
        self.decoded.append(latents.shape[2])
        return torch.cat((latents[:, :, :1], latents[:, :, 1:].repeat_interleave(4, 2)), 2)

    def encode(self, pixels: Tensor) -> Tensor:
        assert pixels.shape[2] % 4 == 1
        return torch.cat((2 * pixels[:, :, :1], pixels[:, :, 1::4]), 2)


def test_a_codec_gets_consecutive_frames_of_at_most_a_section() -> None:
    assert list(stretches([3, 4, 5, 9, 10, 11, 12], 3)) == [range(3, 6), range(9, 12), range(12, 13)]
    latents, codec = normal(2, 4, 5, 2, 2), Fourfold()
    expected = latents.clone()
    expected[:, :, [0, 2]] *= 2  # the first of frames 3, 4 and of 7, 8, 9
    torch.testing.assert_close(reencoded(codec, latents, [3, 4, 7, 8, 9], 3), expected)
    assert codec.decoded == [2, 2, 3, 3], "one video at a time"


def section(mean: float = 0.0, scale: float = 1.0) -> Tensor:
    """Latents ``1 2 2 8 8`` with a given mean and standard deviation in both channels."""
    x = normal(1, 2, 2, 8, 8)
    mid = x.mean((2, 3, 4), keepdim=True)
    return mean + scale * (x - mid) / x.var((2, 3, 4), keepdim=True).sqrt()


@pytest.mark.parametrize(
    ("mean", "variance", "left"),
    [(0.01, 0.01, True), (-0.01, 0.01, False), (0.01, -0.01, False), (-0.01, -0.01, False)],
)
def test_a_band_is_left_by_mean_and_variance_together(mean: float, variance: float, left: bool) -> None:
    """Both channels move by d, so the norm is sqrt(2) d; of it rho = 0.9 is left after the update."""
    config = AdaptiveConfig(strength=1.0, momentum=0.9, mean=0.3, variance=0.2)
    band = DriftBand(config)
    assert band.left_by(section()).tolist() == [False], "the first section is what later ones are held to"
    far = section((0.3 + mean) / (0.9 * math.sqrt(2)), math.sqrt(1 + (0.2 + variance) / (0.9 * math.sqrt(2))))
    assert band.left_by(far).tolist() == [left]


def test_slow_drift_takes_the_running_values_along() -> None:
    """A step of d per section is d rho / (1 - rho) away in the end: 4 d for rho = 0.8, times sqrt(2)."""
    for step, left in ((0.049, False), (0.051, True)):
        # the variance always leaves its band of 0
        band = DriftBand(AdaptiveConfig(1.0, momentum=0.8, mean=math.sqrt(2) * 4 * 0.05, variance=0.0))
        found = [band.left_by(section(step * n, 1 + 0.01 * n)).item() for n in range(80)]
        assert found[-1] is left


def test_noise_is_added_to_the_videos_that_drifted_and_comes_from_their_seeds() -> None:
    calm, drifting = section(), section(3.0, 3.0)
    kept = HistoryLatents(None, AdaptiveConfig(strength=0.5), [4, 5], 9)
    first, then = torch.cat((calm, calm)), torch.cat((calm, drifting))
    assert torch.equal(kept.of(0, [1, 2], first), first)
    made = kept.of(1, [3, 4], then)
    assert torch.equal(made[0], then[0])
    noise = (made[1] - then[1]) / 0.5
    assert noise.std().item() == pytest.approx(1.0, abs=0.1)
    alone = HistoryLatents(None, AdaptiveConfig(strength=0.5), [5], 9)
    alone.of(0, [1, 2], calm)
    assert torch.equal(alone.of(1, [3, 4], drifting)[0], made[1])
    sections = seeded_noise([5], 1, drifting.shape[1:])
    assert abs(torch.corrcoef(torch.stack((noise.flatten(), sections.flatten())))[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("field", "value"), [("strength", -1.0), ("momentum", 1.1), ("momentum", 0.0), ("mean", -0.1)]
)
def test_what_is_no_band_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"sampling\.adaptive\.{field}: got {value}"):
        AdaptiveConfig(**{field: value})
