"""Flow matching: times, shift, interpolation, targets and loss.

Time runs with the noise level: ``sigma = 1`` is pure noise, ``sigma = 0`` is data;
``x_t = (1 - sigma) x_0 + sigma * noise`` and the velocity is ``v = dx_t/dsigma = noise - x_0``.
Sampling integrates from 1 down to 0. The model is told ``1000 * sigma``.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from fp_lab.checks.ranges import check_ranges

Output = Literal["velocity", "clean"]
Shift = Literal["section", "full", "none"]

SMALLEST_SIGMA = 0.05
"""A clean prediction becomes a velocity by division by sigma, which is held above this; no other is."""


@dataclass(frozen=True)
class FlowConfig:
    """How times are drawn and what the network predicts.

    Attributes:
        output: what the network gives, ``velocity`` or ``clean`` latents; the loss is on velocities.
        shift: token count that drives the shift: of the ``section``, of the ``full`` video, or ``none``.
        mean: of the normal distribution whose sigmoid the training times are (logit-normal).
        std: standard deviation of that distribution.
    """

    output: Output = "clean"
    shift: Shift = "section"
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a negative standard deviation."""
        check_ranges("objective.flow", self, std="[0, inf)")


def shift_of_tokens(tokens: int) -> float:
    """Shift e^mu with mu linear in the token count from (256, 0.5) to (4096, 1.15), at most ln 7.

    As in the released FramePack inference (https://github.com/lllyasviel/FramePack).
    """
    # the line of FLUX's dynamic shift; at 480p the noisy tokens of 6 and more latent frames reach the cap
    slope = (1.15 - 0.5) / (4096 - 256)
    return math.exp(min(0.5 + slope * (tokens - 256), math.log(7.0)))


def shift_for(shift: Shift, section_tokens: int, video_tokens: int) -> float:
    """The shift that an ablation option asks for; 1 leaves times as they are."""
    return {
        "section": shift_of_tokens(section_tokens),
        "full": shift_of_tokens(video_tokens),
        "none": 1.0,
    }[shift]


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """Move times towards the noise: s*sigma / (1 + (s-1)*sigma)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def schedule(steps: int, shift: float) -> Tensor:
    """Times of a solver, ``steps + 1`` values from 1 down to 0, float64."""
    if steps < 1:
        raise ValueError(f"a solver needs at least 1 step, got {steps}")
    # a shift leaves both ends where they are, so solvers begin at pure noise and end at data
    return shift_sigmas(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift)


def draw_sigmas(items: int, shift: float, config: FlowConfig, generator: Generator) -> Tensor:
    """Training times ``b``: logit-normal (https://arxiv.org/abs/2403.03206, section 3.1), then shifted."""
    # shifted as the sampler's times are, or levels would be trained that sampling hardly visits
    normal = torch.randn(items, generator=generator, device=generator.device)
    return shift_sigmas(torch.sigmoid(config.mean + config.std * normal), shift)


def interpolate(clean: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """x_t = (1 - sigma) x_0 + sigma * noise; sigmas ``b`` or ``b t``, the rest ``b c t h w``."""
    sigma = _spread(sigmas, clean)
    return (1 - sigma) * clean + sigma * noise


def to_velocity(prediction: Tensor, noisy: Tensor, sigmas: Tensor, output: Output) -> Tensor:
    """Velocity of what the network gave; v = (x_t - x_0) / sigma for clean outputs."""
    if output == "velocity":
        return prediction
    return (noisy - prediction) / _spread(sigmas, noisy).clamp_min(SMALLEST_SIGMA)


def velocity_target(clean: Tensor, noise: Tensor, sigmas: Tensor, output: Output) -> Tensor:
    """What `to_velocity` gives for an exact prediction: ``noise - x_0``.

    Next to time 0 clean outputs have ``(x_t - x_0) / SMALLEST_SIGMA`` instead, or their errors would be
    weighted without bound.

    Args:
        clean: x_0, ``b c t h w``.
        noise: mixed into x_0, of the same shape.
        sigmas: ``b`` or ``b t``.
        output: what the network predicts.
    """
    velocity = noise - clean
    if output == "velocity":
        return velocity
    # the clamp on both sides: an exact prediction has no loss, and the loss of clean outputs is |error of
    # x_0|^2 / max(sigma, 0.05)^2, weighted by 400 at most
    held = to_velocity(clean, interpolate(clean, noise, sigmas), sigmas, output)
    return velocity.where(_spread(sigmas, clean) >= SMALLEST_SIGMA, held)


def velocity_loss(velocity: Tensor, target: Tensor, frames: Tensor | None = None) -> Tensor:
    """Squared velocity error per item, ``b``.

    Args:
        velocity: predicted, ``b c t h w``.
        target: true velocity, from `velocity_target`.
        frames: bool ``b t``, which frames count; None: all.
    """
    error = (velocity - target).square()
    if frames is None:
        return error.flatten(1).mean(1)
    # without a frame that counts the loss is 0, not NaN
    weights = frames / frames.sum(1, keepdim=True).clamp_min(1)
    return (error.mean((1, 3, 4)) * weights).sum(1)


def _spread(sigmas: Tensor, like: Tensor) -> Tensor:
    """Levels ``b`` or ``b t`` in the shape of latents ``b c t h w``."""
    if sigmas.ndim == 2:
        return sigmas.to(like.dtype)[:, None, :, None, None]
    return sigmas.to(like.dtype).view(-1, *([1] * (like.ndim - 1)))
