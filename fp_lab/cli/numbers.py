"""Checks of numbers on the command line."""

import math

import typer

from fp_lab.checks.ranges import MOST, MOST_CARDS, MOST_LATENTS, MOST_RANK, MOST_SEED, MOST_THREADS

__all__ = ["MOST", "MOST_CARDS", "MOST_LATENTS", "MOST_RANK", "MOST_SEED", "MOST_THREADS", "positive"]


def positive(number: float | None) -> float | None:
    """Check that a length, rate or amount is finite and above 0; None is allowed."""
    if number is not None and not 0 < number < math.inf:
        raise typer.BadParameter(f"got {number}, expected a finite number above 0")
    return number
