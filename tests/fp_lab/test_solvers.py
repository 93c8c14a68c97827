import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from fp_lab.flow import schedule
from fp_lab.solvers import SOLVERS, euler

MEAN, STD = 0.7, 0.5


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
