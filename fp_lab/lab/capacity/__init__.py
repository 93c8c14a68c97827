"""Memory planning for the real models: what fits on which cards, and how long it takes."""

from fp_lab.lab.capacity.generating import Generating, Generation
from fp_lab.lab.capacity.hardware import Hardware
from fp_lab.lab.capacity.memory import GIB, METHODS, SHARDED, Method, Sharding
from fp_lab.lab.capacity.plan import (
    BRIEF_BATCH,
    BRIEF_HOURS,
    Fit,
    Plan,
    closed_form,
    full_tokens,
    packed_tokens,
    plan,
)
from fp_lab.lab.capacity.training import Training

__all__ = [
    "BRIEF_BATCH",
    "BRIEF_HOURS",
    "GIB",
    "METHODS",
    "SHARDED",
    "Fit",
    "Generating",
    "Generation",
    "Hardware",
    "Method",
    "Plan",
    "Sharding",
    "Training",
    "closed_form",
    "full_tokens",
    "packed_tokens",
    "plan",
]
