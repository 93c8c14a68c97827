"""Memory planning for the real models: what fits on which cards, and how long it takes."""

from fp_lab.lab.capacity.memory import GIB, METHODS, SHARDED, Method, Sharding
from fp_lab.lab.capacity.models import MODELS, RealModel
from fp_lab.lab.capacity.plan import (
    BRIEF_BATCH,
    BRIEF_HOURS,
    Fit,
    Hardware,
    Plan,
    Training,
    full_tokens,
    packed_tokens,
    plan,
)

__all__ = [
    "BRIEF_BATCH",
    "BRIEF_HOURS",
    "GIB",
    "METHODS",
    "MODELS",
    "SHARDED",
    "Fit",
    "Hardware",
    "Method",
    "Plan",
    "RealModel",
    "Sharding",
    "Training",
    "full_tokens",
    "packed_tokens",
    "plan",
]
