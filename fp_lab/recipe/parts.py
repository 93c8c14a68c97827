"""Recipe or swappable parts: both resolve to one ablation name."""

from collections.abc import Mapping, Sequence
from typing import Any

from fp_lab.recipe.compressions import from_parts
from fp_lab.recipe.grammar import COMPRESSIONS, parse
from fp_lab.recipe.notation import Recipe

PARTS = ("compression", "order", "section", "tail", "codebook", "sink")
_TYPES: dict[str, tuple[type, ...]] = {
    "compression": (str,),
    "order": (str,),
    "section": (int,),
    "tail": (str, type(None)),
    "codebook": (int, type(None)),
    "sink": (int,),
}


def resolve_recipe(requests: Sequence[Mapping[str, Any]]) -> str:
    """The ablation name that a chain of places (files, the command line) asks for.

    A later ``recipe`` replaces all that came before; later parts replace an earlier recipe, or the same
    parts of an earlier place.

    Args:
        requests: ``recipe`` and parts by their key, as each place has them.

    Raises:
        ValueError: nothing or too little is given, something that cannot be read, or one place gives a recipe
            and parts that differ from it. The message begins with the key.
    """
    recipe: Mapping[str, Any] | None = None
    parts: dict[str, Any] = {}
    for request in requests:
        if request.get("recipe") is not None:
            recipe, parts = request, {}
        elif given := {name: value for name, value in request.items() if name in PARTS}:
            recipe, parts = None, parts | given
    return str(_from_parts(parts) if recipe is None else _named(recipe))


def _from_parts(parts: Mapping[str, Any]) -> Recipe:
    _check_types(parts)
    complete = dict(parts)
    if complete.get("order") == "none":
        complete.setdefault("compression", next(iter(COMPRESSIONS)))  # it does not show
    missing = [name for name in ("compression", "order") if name not in complete]
    if missing:
        got = ", ".join(f"{name}={value}" for name, value in parts.items()) or "none of them"
        raise ValueError(
            f"{[*parts, 'recipe'][0]}: got {got}, expected recipe=NAME or at least the parts compression and "
            f"order (missing: {', '.join(missing)}); an "
            "order alone does not change a recipe that is given by name"
        )
    return from_parts(**complete)


def _named(request: Mapping[str, Any]) -> Recipe:
    name, given = request["recipe"], {key: value for key, value in request.items() if key in PARTS}
    if not isinstance(name, str):
        raise ValueError(f"recipe: got {name!r} ({type(name).__name__}), expected a name such as g9")
    _check_types(given)
    recipe = parse(name)
    runs = recipe.left.runs
    starts = len(runs) == 2 and str(runs[0]) == f"f{runs[0].frames}k1"
    found: dict[str, Any] = {
        "order": recipe.order,
        "section": recipe.section,
        "tail": recipe.left.tail or recipe.right.tail,
        "codebook": recipe.codebook,
        "sink": runs[0].frames if starts else 0,
    }
    if "compression" in given:
        # an order that cannot be made of parts has no compression to compare with
        order = "vanilla" if recipe.order == "planned" else recipe.order
        parts = (given["compression"], order, recipe.section, found["tail"], recipe.codebook)
        made = from_parts(*parts, sink=given.get("sink", 0))
        if made != recipe:
            raise ValueError(
                f"compression: got {given['compression']!r}, which makes {made}, and recipe {recipe}; give "
                "the recipe or the parts"
            )
    compared = ("compression", "sink") if "compression" in given else ()
    for part, value in given.items():
        if part not in compared and value != found[part]:
            raise ValueError(
                f"{part}: got {value!r}, and recipe {recipe}, whose {part} is {found[part]!r}; give the "
                "recipe or the parts"
            )
    return recipe


def _check_types(parts: Mapping[str, Any]) -> None:
    for name, value in parts.items():
        if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in _TYPES[name])
            raise ValueError(f"{name}: got {value!r} ({type(value).__name__}), expected {expected}")
