"""Samplers as visible loops over a velocity function, from sigma = 1 down to 0."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from fp_lab.checks.ranges import check_ranges
from fp_lab.registry import Registry

Velocity = Callable[[Tensor, float], Tensor]
"""(x at sigma, sigma) -> dx/dsigma."""


Solver = Callable[[Velocity, Tensor, Tensor], Tensor]
"""(velocity, noise, ``steps + 1`` sigmas from 1 down to 0) -> sample."""
SOLVERS: Registry[Solver] = Registry("solver")

Variant = Literal["bh1", "bh2"]
Variable = Literal["log_snr", "log_sigma"]


@dataclass(frozen=True)
class SolverConfig:
    """Which solver, and how many steps.

    The last three are of UniPC alone. By default it is diffusers', as Wan's pipelines call it; FramePack's
    own code samples with ``order: 3, variant: bh1, variable: log_sigma``.

    Attributes:
        name: ``euler``, ``heun``, ``unipc``, or what a plugin registers.
        steps: from noise to data.
        order: of the polynomials in which UniPC goes on from earlier predictions, 1 to 3.
        variant: UniPC's B(h), h or e^h - 1 (https://arxiv.org/abs/2302.04867, section 3.3).
        variable: in which UniPC measures its step h: ``log_snr``, log((1 - sigma) / sigma), or ``log_sigma``,
            -log(sigma).
    """

    name: str = "euler"
    steps: int = 25
    order: int = 2
    variant: Variant = "bh2"
    variable: Variable = "log_snr"

    def __post_init__(self) -> None:
        """Refuse unknown solvers, numbers out of range, and options without a finite first step."""
        SOLVERS.require("sampling.solver.name", self.name)
        check_ranges("sampling.solver", self, steps="[1, inf)")
        if not 1 <= self.order <= 3:
            raise ValueError(f"sampling.solver.order: got {self.order}, expected 1, 2 or 3")
        if self.variable == "log_snr" and (self.order == 3 or self.variant == "bh1"):
            raise ValueError(
                f"sampling.solver.variable: got 'log_snr' with order {self.order} and variant "
                f"{self.variant!r}, expected 'log_sigma': the first step, from sigma = 1, is of infinite "
                "length in log SNR"
            )


@SOLVERS.register("euler")
def euler(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """First-order steps x <- x + (sigma' - sigma) v; one evaluation a step.

    Args:
        velocity: the model.
        x: noise.
        sigmas: ``steps + 1`` values, from 1 down to 0.
    """
    for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        # following < sigma: v points from data to noise, so a step goes against it
        x = x + (following - sigma) * velocity(x, sigma)
    return x


@SOLVERS.register("heun")
def heun(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """Second-order steps (https://arxiv.org/abs/2206.00364, algorithm 1); the last one is an Euler step."""
    for sigma, following in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        slope = velocity(x, sigma)
        predicted = x + (following - sigma) * slope
        # no evaluation at sigma = 0: the velocity of a clean output divides by sigma
        if following > 0:
            slope = (slope + velocity(predicted, following)) / 2
        x = x + (following - sigma) * slope
    return x


@SOLVERS.register("unipc")
def unipc(
    velocity: Velocity,
    x: Tensor,
    sigmas: Tensor,
    order: int = 2,
    variant: Variant = "bh2",
    variable: Variable = "log_snr",
) -> Tensor:
    """UniPC (https://arxiv.org/abs/2302.04867) by diffusers with flow sigmas; the last one is an Euler step.

    Args:
        velocity: the model.
        x: noise.
        sigmas: ``steps + 1`` values, from 1 down to 0.
        order: see `SolverConfig`.
        variant: see `SolverConfig`.
        variable: see `SolverConfig`.
    """
    from fp_lab.flow.unipc import InLogSigma, InLogSNR  # slow to import

    kind = InLogSNR if variable == "log_snr" else InLogSigma
    # a fresh scheduler per section: it keeps earlier predictions, which belong to one trajectory
    scheduler = kind(
        solver_order=order,
        solver_type=variant,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        lower_order_final=False,  # the step to sigma = 0, which has no logarithm, is not the scheduler's
    )
    # our sigmas are shifted already (its flow_shift is 1); after set_timesteps, which would overwrite them
    scheduler.set_timesteps(len(sigmas) - 1, device=x.device)
    scheduler.sigmas = sigmas.to(torch.float32)
    scheduler.timesteps = (1000 * sigmas[:-1]).to(x.device, torch.float32)
    # one step less than timesteps: the last one is the Euler step below, which ends at the prediction of x_0
    *earlier, last = sigmas[:-1].tolist()
    for timestep, sigma in zip(scheduler.timesteps, earlier, strict=False):
        x = scheduler.step(velocity(x, sigma), timestep, x, return_dict=False)[0]
    return x - scheduler.sigmas[-2] * velocity(x, last)


def solver_of(config: SolverConfig) -> Solver:
    """The solver with its options, to be called with a velocity, noise and sigmas."""
    if config.name != "unipc":
        return SOLVERS[config.name]
    return partial(unipc, order=config.order, variant=config.variant, variable=config.variable)
