"""Short labels of arms: ``<order> · <compression>``, with further parts where arms share both."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache

from fp_lab.recipe import BASE, COMPRESSIONS, Recipe, Run
from fp_lab.recipe.compressions import from_parts

_IN_WORDS = {
    "context.importance.kind=similarity": "by similarity",
    "evaluation.shuffled=True": "of another video",
}
_SINKS = range(4)  # frames that are always kept, as far as they have a name


def short_labels(arms: Mapping[str, Recipe]) -> dict[str, str]:
    """Return labels that are unique among the arms.

    Args:
        arms: name -> recipe. A name is a recipe or a label, then ``--`` and further settings.

    Returns:
        Labels such as ``inverted · released``, ``vanilla · released + D``, ``no history``; section and tail
        only where labels would be equal without, the size of codebooks where there are several. An arm with a
        label of its own keeps it; one without a unique label gets its name.
    """
    sized = len({recipe.codebook for recipe in arms.values()} - {None}) > 1
    told = {name: _label(name, recipe, sized=sized) for name, recipe in arms.items()}
    for trait in (_section, _tail):
        for label in [label for label, count in Counter(told.values()).items() if count > 1]:
            same = {name: trait(arms[name]) for name in told if told[name] == label}
            if len(set(same.values())) > 1:
                told |= {name: label + what for name, what in same.items()}
    counts = Counter(told.values())
    return {name: label if counts[label] == 1 else name for name, label in told.items()}


def _label(name: str, recipe: Recipe, *, sized: bool) -> str:
    own, *options = filter(None, name.split("--"))
    options = [option for option in options if option != f"label={own}"]  # in names of earlier versions
    label = short_label(recipe, sized=sized) if own == str(recipe) else own.replace("_", " ")
    begin, further = f"{recipe.order} ·", []
    for option in options:
        key, _, order = option.partition("=")
        if key == "sampling.fill" and order not in ("forward", "bisect") and label.startswith(begin):
            label = f"{order.replace('_', ' ')} ·{label.removeprefix(begin)}"  # an order of a plugin
        else:
            further.append(_option(option))
    return ", ".join([label, *further])


def _option(text: str) -> str:
    """Put a setting into words, or shorten it to the last two parts of its key: ``history.noise=0.0``."""
    if text in _IN_WORDS:
        return _IN_WORDS[text]
    key, equals, value = text.partition("=")
    return f"{'.'.join(key.split('.')[-2:])}{equals}{value}"


@lru_cache
def short_label(recipe: Recipe, *, sized: bool = False) -> str:
    """Return order and compression of a recipe; the notation itself where it has no such parts.

    Args:
        recipe: recipe to name.
        sized: whether to add the size of its codebook.
    """
    if recipe.order == "none":
        return "no history"
    discrete = "" if recipe.codebook is None else f" + D{recipe.codebook if sized else ''}"
    found = next(_compressions(recipe), None)
    return str(recipe) if found is None else f"{recipe.order} · {found}{discrete}"


def compression_of(recipe: Recipe) -> str:
    """Return the compression's name, else its levels; empty without history or levels."""
    return "" if recipe.order == "none" else next(_compressions(recipe), "")


def _compressions(recipe: Recipe) -> Iterator[str]:
    """Names of compressions for which `from_parts` gives the recipe, then its levels."""
    if recipe.order in ("none", "planned"):
        return
    tail = recipe.left.tail or recipe.right.tail
    runs = (recipe.right if recipe.order == "inverted" else recipe.left).runs
    nearest = runs[-1].mirrored if recipe.order == "inverted" else runs[-1]
    levels = str(nearest)
    for sink in _SINKS if len(runs) > 1 else _SINKS[:1]:
        for compression in (*COMPRESSIONS, levels):
            with suppress(ValueError):  # not every tail and start goes with every compression
                made = from_parts(compression, recipe.order, recipe.section, tail, recipe.codebook, sink)
                if made == recipe:
                    name = _uncompressed(nearest) or compression.replace("_", " ")
                    yield name + (f" + sink {sink}" if sink else "")


def _uncompressed(run: Run) -> str:
    """Describe as ``19 uncompressed frames``; empty where a level is compressed."""
    if {level.kernel for level in run.levels} != {BASE}:
        return ""
    frames = sum(level.frames for level in run.levels)
    return f"{frames} uncompressed frame{'s' if frames > 1 else ''}"


def _section(recipe: Recipe) -> str:
    return f", g{recipe.section}"


def _tail(recipe: Recipe) -> str:
    tail = recipe.left.tail or recipe.right.tail
    return "" if tail == "td" else f", {tail or 'no tail'}"
