import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from fp_lab.flow.matching import (
    SMALLEST_SIGMA,
    FlowConfig,
    Output,
    draw_sigmas,
    interpolate,
    schedule,
    shift_for,
    shift_of_tokens,
    shift_sigmas,
    to_velocity,
    velocity_loss,
    velocity_target,
)


@pytest.mark.parametrize(
    ("tokens", "shift"),
    [(64, 1.60), (256, 1.65), (576, 1.74), (1024, 1.88), (4096, 3.16), (8798, 7), (100_000, 7)],
)
def test_published_shifts(tokens: int, shift: float) -> None:
    assert shift_of_tokens(tokens) == pytest.approx(shift, abs=0.006)


@pytest.mark.parametrize(
    ("section", "shift"), [(1, 2.06), (2, 2.68), (3, 3.49), (4, 4.54), (5, 5.91), (6, 7), (9, 7)]
)
def test_balanced_diffusion_at_480p_ends_at_six_frames(section: int, shift: float) -> None:
    assert shift_of_tokens(section * 1560) == pytest.approx(shift, abs=0.006)


def test_shift_options() -> None:
    assert shift_for("none", 144, 1024) == 1
    assert shift_for("section", 144, 1024) == shift_of_tokens(144)
    assert shift_for("full", 144, 1024) == shift_of_tokens(1024)


def test_schedule_equals_that_of_diffusers() -> None:
    shift = 2.5
    reference = FlowMatchEulerDiscreteScheduler(shift=shift)
    reference.set_timesteps(sigmas=torch.linspace(1, 0, 11)[:-1].tolist())
    torch.testing.assert_close(schedule(10, shift).float(), reference.sigmas, atol=1e-6, rtol=0)


def test_time_runs_from_noise_to_data() -> None:
    times = schedule(25, 1.62)
    assert times[0] == 1
    assert times[-1] == 0
    assert (times.diff() < 0).all()


def test_a_clean_prediction_and_its_velocity_are_two_ways_to_say_the_same() -> None:
    clean, noise = torch.randn(2, 4, 2, 3, 3, 3).unbind(0)
    sigmas = torch.tensor([0.2, 0.5, 0.8, 1.0])
    noisy = interpolate(clean, noise, sigmas)
    velocity = to_velocity(clean, noisy, sigmas, "clean")
    torch.testing.assert_close(velocity, noise - clean, atol=1e-4, rtol=1e-4)
    sigma = sigmas.view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(noisy - sigma * velocity, clean, atol=1e-5, rtol=1e-4)
    assert to_velocity(clean, noisy, sigmas, "velocity") is clean


def test_the_velocity_is_the_derivative_of_the_path() -> None:
    clean, noise = torch.randn(2, 1, 5, dtype=torch.float64).unbind(0)
    step = 1e-6
    derivative = (
        interpolate(clean, noise, torch.tensor([0.4 + step], dtype=torch.float64))
        - interpolate(clean, noise, torch.tensor([0.4], dtype=torch.float64))
    ) / step
    torch.testing.assert_close(derivative, noise - clean, atol=1e-6, rtol=1e-6)


SIGMAS = torch.cat((torch.tensor([1e-6]), torch.linspace(0, 1, 201)[1:]))


@pytest.mark.parametrize("output", ["velocity", "clean"])
def test_the_loss_of_an_exact_output_is_zero_at_every_time(output: Output) -> None:
    clean, noise = torch.randn(2, len(SIGMAS), 2, 3, 3, 3).unbind(0)
    noisy = interpolate(clean, noise, SIGMAS)
    exact = noise - clean if output == "velocity" else clean
    found = to_velocity(exact, noisy, SIGMAS, output)
    loss = velocity_loss(found, velocity_target(clean, noise, SIGMAS, output))
    torch.testing.assert_close(loss, torch.zeros_like(loss), atol=1e-8, rtol=0)


def test_an_error_of_the_output_is_weighted_as_a_velocity() -> None:
    clean, noise = torch.randn(2, len(SIGMAS), 2, 3, 3, 3).unbind(0)
    noisy = interpolate(clean, noise, SIGMAS)
    wrong = to_velocity(clean + 0.1, noisy, SIGMAS, "clean")
    loss = velocity_loss(wrong, velocity_target(clean, noise, SIGMAS, "clean"))
    torch.testing.assert_close(loss, 0.01 / SIGMAS.clamp_min(SMALLEST_SIGMA).square(), rtol=1e-3, atol=0)
    loss = velocity_loss(noise - clean + 0.1, velocity_target(clean, noise, SIGMAS, "velocity"))
    torch.testing.assert_close(loss, torch.full_like(loss, 0.01), rtol=1e-3, atol=0)


def test_training_times_are_logit_normal_then_shifted() -> None:
    draws = draw_sigmas(20_000, 3.0, FlowConfig(), torch.Generator().manual_seed(0))
    unshifted = draws / (3 - 2 * draws)
    logits = torch.log(unshifted / (1 - unshifted))
    assert logits.mean().item() == pytest.approx(0, abs=0.03)
    assert logits.std().item() == pytest.approx(1, abs=0.03)
    assert draws.median().item() == pytest.approx(0.75, abs=0.02)
    assert math.isclose(shift_sigmas(torch.tensor(0.5), 3.0).item(), 0.75)


def test_a_schedule_without_steps_is_refused() -> None:
    with pytest.raises(ValueError, match="1 step, got 0"):
        schedule(0, 1.0)
