"""Ablation names: notation, grammar, named compressions, generation orders. Standard library only."""

from fp_lab.recipe.grammar import COMPRESSIONS, parse, parse_run
from fp_lab.recipe.notation import (
    BASE,
    SHORT_KERNELS,
    TAILS,
    Kernel,
    Level,
    Order,
    Recipe,
    RecipeError,
    Run,
    Side,
    Tail,
)

__all__ = [
    "BASE",
    "COMPRESSIONS",
    "SHORT_KERNELS",
    "TAILS",
    "Kernel",
    "Level",
    "Order",
    "Recipe",
    "RecipeError",
    "Run",
    "Side",
    "Tail",
    "parse",
    "parse_run",
]
