"""Recipe or swappable parts: both resolve to one ablation name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fp_lab.compressions import from_parts
from fp_lab.recipe import COMPRESSIONS, Recipe, parse

PARTS = ("compression", "order", "section", "tail", "codebook", "sink")
_TYPES: dict[str, tuple[type, ...]] = {
    "compression": (str,),
    "order": (str,),
    "section": (int,),
    "tail": (str, type(None)),
    "codebook": (int, type(None)),
    "sink": (int,),
}


@dataclass(frozen=True)
class RecipeRequest:
    """What one place (a file, the command line) says of the recipe: ``recipe`` and parts by their key."""

    origin: str
    values: Mapping[str, Any]


def resolve_recipe(requests: Sequence[RecipeRequest]) -> str:
    """The ablation name that a chain of places asks for.

    A later ``recipe`` replaces all that came before; later parts replace an earlier recipe, or the same
    parts of an earlier place.

    Raises:
        ValueError: nothing or too little is given, or one place gives a recipe and parts that differ from it.
    """
    recipe: str | None = None
    parts: dict[str, Any] = {}
    for request in requests:
        given = {name: value for name, value in request.values.items() if name in PARTS}
        for name, value in given.items():
            _check_type(request.origin, name, value)
        named = request.values.get("recipe")
        if named is not None:
            recipe, parts = _named(named, given, request.origin), {}
        elif given:
            recipe, parts = None, parts | given
    if recipe is not None:
        return recipe
    return str(_from_parts(parts))


def _from_parts(parts: Mapping[str, Any]) -> Recipe:
    complete = dict(parts)
    if complete.get("order") == "none":
        complete.setdefault("compression", next(iter(COMPRESSIONS)))  # it does not show
    missing = [name for name in ("compression", "order") if name not in complete]
    if missing:
        got = ", ".join(f"{name}={value}" for name, value in parts.items()) or "none of them"
        raise ValueError(
            f"recipe: got {got}, expected recipe=NAME or at least the parts compression and order "
            f"(missing: {', '.join(missing)}); an order alone does not change a recipe that is given by name"
        )
    return from_parts(**complete)


def _named(name: Any, given: Mapping[str, Any], origin: str) -> str:
    if not isinstance(name, str):
        raise ValueError(
            f"{origin}: recipe: got {name!r} ({type(name).__name__}), expected a name such as g9"
        )
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
                f"{origin}: got recipe {recipe} and compression {given['compression']!r}, "
                f"which makes {made}; give the recipe or the parts"
            )
    compared = ("compression", "sink") if "compression" in given else ()
    for part, value in given.items():
        if part not in compared and value != found[part]:
            raise ValueError(
                f"{origin}: got recipe {recipe}, whose {part} is {found[part]!r}, and {part}={value!r}; "
                "give the recipe or the parts"
            )
    return str(recipe)


def _check_type(origin: str, name: str, value: Any) -> None:
    if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
        expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in _TYPES[name])
        raise ValueError(f"{origin}: {name}: got {value!r} ({type(value).__name__}), expected {expected}")
