"""What recycling is for: a base whose own errors are large on purpose drifts less with recycled histories.

The world is linear: videos are still pictures from a plane of two of sixteen dimensions. The base copies the
last frame, the only one that it sees, by a matrix that training may change, and errs: noise that no training
can remove is added to each prediction. With true histories copying is as good as anything, and errors of all
dimensions add up in a rollout; with recycled ones the matrix learns to leave out what lies off the plane.
"""

from statistics import fmean
from typing import Any

import torch
from scipy.stats import ttest_rel
from torch import Generator, Tensor, nn

from fp_lab.backbones.tiny import TinyDiT, TinyDiTConfig
from fp_lab.flow.history_noise import HistoryConfig
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_lab.shapes import PackedContext
from fp_lab.training.framepack_system import FramePackSystem, step_generator
from fp_lab.training.objective import ObjectiveConfig
from fp_lab.training.optimizer import OptimizerConfig

RECIPE = parse("td_f1k1_g2")
PIXELS = 16  # of a frame: 4 channels, 2 x 2, one token
PLANE = 4 * torch.linalg.qr(torch.randn(PIXELS, 2, generator=Generator().manual_seed(0))).Q
ERROR, BATCH, STEPS, SECTIONS = 0.5, 32, 150, 12
SEEDS = range(3)


class Copying(TinyDiT):
    """Copies the last frame of the history, with a random error in every prediction."""

    def __init__(self, seed: int) -> None:
        super().__init__(TinyDiTConfig(channels=4, width=PIXELS, depth=1, head_width=PIXELS))
        self.copy = nn.Linear(PIXELS, PIXELS)
        nn.init.eye_(self.copy.weight)
        nn.init.zeros_(self.copy.bias)
        self.errors = Generator().manual_seed(seed)

    def prepare(self, times: Any, size: Any, text: Any, context: Any = None, moments: Any = None) -> Any:
        assert isinstance(context, PackedContext)
        return context.tokens[:, 0]

    def denoise(self, noisy: Tensor, timesteps: Any, section: Any, attention_mask: Any = None) -> Tensor:
        clean: Tensor = self.copy(section).reshape(-1, 4, 1, 2, 2).expand_as(noisy)
        return clean + ERROR * torch.randn(noisy.shape, generator=self.errors)


def pictures(count: int, seed: int) -> Tensor:
    drawn = torch.randn(count, 2, generator=Generator().manual_seed(seed)) @ PLANE.T
    return drawn.reshape(count, 4, 1, 2, 2)


def errors_of(source: str, seed: int) -> tuple[float, float]:
    """Mean squared error in the first and in the last quarter of a rollout, after a training."""
    model = FramePackModel(Copying(seed), kernels_of(RECIPE), "clean")
    projection = model.packer.base_projection()
    with torch.no_grad():
        projection.weight.copy_(torch.eye(PIXELS).reshape(PIXELS, 4, 1, 2, 2))
        projection.bias.zero_()
    objective = ObjectiveConfig(history=HistoryConfig(source))
    optimizer = OptimizerConfig(learning_rate=1e-2, warmup=10)
    system = FramePackSystem(model, PlannedSections(RECIPE), objective, optimizer, steps=STEPS, seed=seed)
    made: Any = system.configure_optimizers()
    for step in range(STEPS):
        videos = pictures(BATCH, 10_000 * seed + step).expand(-1, -1, 7, -1, -1)
        batch: Any = {"latents": videos, "captions": [""] * BATCH}
        made["optimizer"].zero_grad()
        system.section_loss(batch, step_generator(seed, 0, step)).backward()
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    given = pictures(BATCH, 777 + seed)
    sampling = SamplingConfig(SolverConfig("euler", 1))
    further: Any = {"frames": 1 + 2 * SECTIONS, "captions": [""] * BATCH, "seeds": range(BATCH)}
    with torch.no_grad():
        parts = list(rollout(model, RECIPE, given, sampling=sampling, **further))
    errors = [(part.latents - given).square().mean().item() for part in parts]
    quarter = SECTIONS // 4
    return fmean(errors[:quarter]), fmean(errors[-quarter:])


def test_recycled_histories_lower_the_drift_of_a_base_that_errs() -> None:
    true, recycled = ([errors_of(source, seed) for seed in SEEDS] for source in ("true", "recycled"))
    drifts = [[last - first for first, last in errors] for errors in (recycled, true)]
    # copied errors add up: 0.25 per section, over the nine sections between the quarters
    assert all(0.5 < drift / (9 * ERROR**2) < 1.5 for drift in drifts[1]), true
    assert ttest_rel(*drifts, alternative="less").pvalue < 0.05, (true, recycled)
    # nor is the history left unread, which drifts as little as it knows
    ends = zip(recycled, true, strict=True)
    assert all(own[1] < 0.6 * other[1] for own, other in ends), (true, recycled)
