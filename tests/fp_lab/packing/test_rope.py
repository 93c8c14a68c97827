import math

import pytest
import torch
import torch.nn.functional as F
from diffusers.models.transformers.transformer_hunyuan_video_framepack import (
    HunyuanVideoFramepackRotaryPosEmbed,
)
from torch import Tensor

from fp_lab.packing.rope import RopeConfig, phases, rotate
from fp_lab.recipe import BASE, Kernel
from fp_lab.shapes import Phases

CONFIG = RopeConfig(256.0, (4, 6, 6))


def pooled_by_hand(times: Tensor, rows: int, columns: int, kernel: Kernel) -> tuple[Tensor, Tensor]:
    """Full-resolution phases on the whole grid, padded and pooled as a 3D image."""
    places = (times.double(), torch.arange(rows // 2).double(), torch.arange(columns // 2).double())
    grids = torch.meshgrid(*places, indexing="ij")
    angles = []
    for grid, channels in zip(grids, CONFIG.axes, strict=True):
        frequency = CONFIG.theta ** -(torch.arange(0, channels, 2).double() / channels)
        angles.append(grid[..., None] * frequency)
    angle = torch.cat(angles, -1).movedim(-1, 0)[None]
    size = (kernel.t, kernel.h // 2, kernel.w // 2)
    padding = [p for n, k in zip(angle.shape[:1:-1], size[::-1], strict=True) for p in (0, -n % k)]
    pooled = [F.avg_pool3d(F.pad(f(angle), padding, mode="replicate"), size) for f in (torch.cos, torch.sin)]
    cos, sin = (p[0].movedim(0, -1).flatten(0, 2).float() for p in pooled)
    return cos, sin


@pytest.mark.parametrize("kernel", [BASE, Kernel(2, 4, 4), Kernel(4, 8, 8), Kernel(1, 4, 2), Kernel(3, 6, 2)])
def test_separable_pooling_equals_pooling_the_whole_grid(kernel: Kernel) -> None:
    times = torch.tensor([0, 1, 2, 5, 6, 300, 301])
    phase = phases(times[None], 8, 12, kernel, CONFIG)
    cos, sin = pooled_by_hand(times, 8, 12, kernel)
    torch.testing.assert_close(phase.cos[0], cos, atol=1e-5, rtol=0)
    torch.testing.assert_close(phase.sin[0], sin, atol=1e-5, rtol=0)


def test_base_phases_equal_those_of_diffusers() -> None:
    reference = HunyuanVideoFramepackRotaryPosEmbed(
        patch_size=2, patch_size_t=1, rope_dim=list(CONFIG.axes), theta=256.0
    )
    times = torch.tensor([3, 4, 9])
    cos, sin = reference(times, 8, 12, torch.device("cpu"))
    phase = phases(times[None], 8, 12, BASE, CONFIG)
    torch.testing.assert_close(phase.cos[0], cos[:, ::2], atol=1e-5, rtol=0)
    torch.testing.assert_close(phase.sin[0], sin[:, ::2], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("n", "damping"), [(2, 0.878), (4, 0.474)])
def test_pooling_damps_the_fastest_frequency(n: int, damping: float) -> None:
    phase = phases(torch.arange(n)[None], 2, 2, Kernel(n, 2, 2), CONFIG)
    length = math.hypot(phase.cos[0, 0, 0].item(), phase.sin[0, 0, 0].item())
    assert length == pytest.approx(damping, abs=5e-4)
    assert length == pytest.approx(math.sin(n / 2) / (n * math.sin(1 / 2)), abs=1e-6)


def test_phases_stay_float32_under_autocast() -> None:
    times = torch.tensor([[1000, 1001]])
    with torch.autocast("cpu", torch.bfloat16):
        phase = phases(times, 2, 2, BASE, CONFIG)
    assert phase.cos.dtype == torch.float32
    assert not torch.equal(phase.cos[0, 0], phase.cos[0, 1]), "bfloat16 cannot tell 1000 from 1001"


def test_attention_depends_on_distances_alone() -> None:
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)

    def score(first: int, second: int) -> float:
        rotated = [
            rotate(x, phases(torch.tensor([[t]]), 2, 2, BASE, CONFIG))
            for x, t in ((query, first), (key, second))
        ]
        return (rotated[0] * rotated[1]).sum().item()

    assert score(3, 7) == pytest.approx(score(53, 57), abs=1e-4)
    assert score(3, 7) != pytest.approx(score(3, 8), abs=1e-4)


def test_odd_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        RopeConfig(256.0, (3, 4, 4))


def test_rotation_by_zero_is_the_identity() -> None:
    x = torch.randn(1, 2, 3, 8)
    torch.testing.assert_close(rotate(x, Phases(torch.ones(1, 3, 4), torch.zeros(1, 3, 4))), x)
