"""Choice of what training draws sections from: the sampler's plan, or windows of blocks (no Lightning)."""

from fp_lab.causal import Blocks
from fp_lab.packing.assemble import PlannedSections
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Fill


def sections_of(
    recipe: Recipe, context: ContextConfig, fill: Fill | None, given: tuple[int, ...]
) -> PlannedSections | Blocks:
    """Return what training draws sections from.

    Args:
        recipe: compression and order.
        context: options of the context; block-causal attention has windows of blocks.
        fill: filling of the endpoint order's gap, see `PlannedSections`.
        given: numbers of frames that videos begin with, see `PlannedSections`.

    Raises:
        ValueError: block-causal attention with a recipe that packs its history.
    """
    if context.attention == "block_causal":
        return Blocks.of(recipe)
    return PlannedSections(recipe, fill, given)
