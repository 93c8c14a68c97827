"""Samplers as visible loops over a velocity function, from sigma = 1 down to 0."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""(x at sigma, sigma) -> dx/dsigma."""


@dataclass(frozen=True)
class SolverConfig:
    """Which solver, and how many steps."""

    name: Literal["euler", "heun", "unipc"] = "euler"
    steps: int = 25


def euler(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """First-order steps x <- x + (sigma' - sigma) v; one evaluation a step.

    Args:
        velocity: the model.
        x: noise.
        sigmas: ``steps + 1`` values, from 1 down to 0.
    """
    for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        x = x + (following - sigma) * velocity(x, sigma)
    return x


def heun(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """Second-order steps (https://arxiv.org/abs/2206.00364, algorithm 1); the last one is an Euler step."""
    for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        slope = velocity(x, sigma)
        predicted = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + velocity(predicted, following)) / 2
        x = x + (following - sigma) * slope
    return x


def unipc(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """UniPC (https://arxiv.org/abs/2302.04867) through diffusers with flow sigmas, a fresh one each call."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    scheduler.set_timesteps(len(sigmas) - 1, device=x.device)
    scheduler.sigmas = sigmas.to(torch.float32)
    scheduler.timesteps = (1000 * sigmas[:-1]).to(x.device, torch.float32)
    for timestep, sigma in zip(scheduler.timesteps, sigmas[:-1].tolist(), strict=True):
        x = scheduler.step(velocity(x, sigma), timestep, x, return_dict=False)[0]
    return x


SOLVERS: dict[str, Callable[[Velocity, Tensor, Tensor], Tensor]] = {
    "euler": euler,
    "heun": heun,
    "unipc": unipc,
}
