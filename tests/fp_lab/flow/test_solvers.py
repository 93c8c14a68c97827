import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from fp_lab.flow.matching import schedule
from fp_lab.flow.solvers import SOLVERS, SolverConfig, Variant, euler, solver_of
from fp_lab.lab.config import load

MEAN, STD = 0.7, 0.5
OFFICIAL = SolverConfig("unipc", 25, order=3, variant="bh1", variable="log_sigma")


def gaussian_velocity(x: Tensor, sigma: float) -> Tensor:
    """Exact velocity E[noise - x_0 | x_t] for data N(MEAN, STD^2)."""
    variance = (1 - sigma) ** 2 * STD**2 + sigma**2
    residual = (x - (1 - sigma) * MEAN) / variance
    return sigma * residual - (MEAN + (1 - sigma) * STD**2 * residual)


def exact_end(noise: Tensor) -> Tensor:
    return MEAN + STD * noise


def error(name: str, steps: int) -> float:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]
    ended = SOLVERS[name](gaussian_velocity, noise, schedule(steps, 1.5))
    return (ended - exact_end(noise)).abs().max().item()


def test_euler_equals_the_scheduler_of_diffusers() -> None:
    sigmas = schedule(8, 1.5)
    reference = FlowMatchEulerDiscreteScheduler(shift=1.0)
    reference.set_timesteps(sigmas=sigmas[:-1].tolist())
    x = noise = torch.randn(2, 3)
    for timestep in reference.timesteps:
        velocity = gaussian_velocity(x, timestep.item() / 1000)
        x = reference.step(velocity, timestep, x, return_dict=False)[0]
    torch.testing.assert_close(euler(gaussian_velocity, noise, sigmas), x, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_errors_fall_with_the_order_of_the_solver(name: str, order: int) -> None:
    measured = math.log2(error(name, 64) / error(name, 128))
    assert measured == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("name", list(SOLVERS))
def test_every_solver_reaches_the_data(name: str) -> None:
    assert error(name, 25) < 0.1


def test_unipc_beats_euler_at_equal_steps() -> None:
    assert error("unipc", 12) < error("euler", 12) / 2


def mixture_velocity(x: Tensor, sigma: float) -> Tensor:
    """Exact velocity for data of three Gaussians."""
    weights, means, stds = torch.tensor(
        [[0.3, 0.5, 0.2], [-1.0, 0.4, 1.5], [0.1, 0.2, 0.15]], dtype=torch.float64
    )
    variances = ((1 - sigma) * stds) ** 2 + sigma**2
    residuals = (x[..., None] - (1 - sigma) * means) / variances
    clean, noise = means + (1 - sigma) * stds**2 * residuals, sigma * residuals
    densities = weights * (-variances * residuals**2 / 2).exp() / variances.sqrt()
    return ((densities / densities.sum(-1, keepdim=True)) * (noise - clean)).sum(-1)


# sample_unipc of https://github.com/lllyasviel/FramePack (97fe5db, diffusers_helper/k_diffusion/uni_pc_fm.py)
# in float64, from these points at shift 7
RELEASED = {
    ("bh1", 25): (-1.036974093, -1.005418415, 0.391127463, 1.252206896, 1.581940135),
    ("bh1", 5): (-0.614636625, -0.250707411, 0.211537288, 0.641879435, 0.971022820),
    ("bh2", 5): (-0.614635416, -0.250706476, 0.211537287, 0.641878593, 0.971021605),
}
NOISE = torch.linspace(-2, 2, 5, dtype=torch.float64)[None]


@pytest.mark.parametrize(("variant", "steps"), RELEASED)
def test_unipc_equals_that_of_framepack(variant: Variant, steps: int) -> None:
    config = replace(OFFICIAL, variant=variant)
    ended = solver_of(config)(mixture_velocity, NOISE, schedule(steps, 7.0))[0]
    theirs = torch.tensor(RELEASED[variant, steps], dtype=torch.float64)
    torch.testing.assert_close(ended, theirs, atol=1e-6, rtol=0)
    default = solver_of(SolverConfig("unipc"))(mixture_velocity, NOISE, schedule(steps, 7.0))[0]
    assert (default - theirs).square().mean().sqrt() > 0.005, "another sampler"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_unipc_needs_no_more_steps_than_there_are(steps: int) -> None:
    ended = solver_of(OFFICIAL)(mixture_velocity, NOISE, schedule(steps, 7.0))
    assert ended.isfinite().all()


def test_the_released_config_samples_as_framepack_does() -> None:
    assert load("released/framepack").sampling.solver == OFFICIAL
    assert load("released/framepack_f1").sampling.solver == OFFICIAL


@pytest.mark.parametrize("other", [{"order": 3}, {"variant": "bh1"}, {"order": 4}, {"order": 0}])
def test_options_without_numbers_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="order"):
        SolverConfig("unipc", 25, **other)
