"""Families of estimators; figures of different families never share a column."""

import re

from fp_metrics.estimator import SCORES, Estimator
from fp_metrics.families.offline import OFFLINE
from fp_metrics.families.paper import PAPER, PAPER_VBENCH_COMPAT
from fp_metrics.families.plain import PLAIN
from fp_metrics.families.probe import PROBE
from fp_metrics.families.world import WORLD

FAMILIES: dict[str, dict[str, type[Estimator]]] = {
    "plain": PLAIN,
    "offline": OFFLINE,
    "paper": PAPER,
    "paper_vbench_compat": PAPER_VBENCH_COMPAT,
    "probe": PROBE,
    "world": WORLD,
}
"""Family -> estimator name -> class."""
_BUILT_IN = tuple(FAMILIES)


def register(estimator: type[Estimator]) -> type[Estimator]:
    """Add an estimator to its family, a new one or one of a plugin, as a decorator of its class.

    Its `name` is ``family/what-it-measures``, its `score` one of the seven. What its values depend on beside
    the frames belongs into its `settings`, as results carry them as the protocol.

    Raises:
        ValueError: a name without its family, a built-in family, or a score that is none.
    """
    if not (isinstance(estimator, type) and issubclass(estimator, Estimator)):
        raise ValueError(f"metric: got {estimator!r}, expected a subclass of fp_metrics.Estimator")
    if missing := [
        part for part in ("name", "family", "score") if not isinstance(getattr(estimator, part, None), str)
    ]:
        raise ValueError(f"metric {estimator.__name__}: has no {missing[0]}, expected {missing[0]} = a text")
    name, family = estimator.name, estimator.family
    if not re.fullmatch(r"[a-z0-9_]+/[a-z0-9_.-]+", name):
        raise ValueError(f"metric: got name {name!r}, expected lower-case letters, digits, _, . and -")
    if not name.startswith(f"{family}/"):
        raise ValueError(f"metric: got name {name!r} in family {family!r}, expected {family}/NAME")
    if family in _BUILT_IN:
        raise ValueError(f"metric: got family {family!r} for {name}, expected a family of your own")
    if estimator.score not in SCORES:
        raise ValueError(
            f"metric {name!r}: got score {estimator.score!r}, expected one of {', '.join(SCORES)}"
        )
    known = FAMILIES.setdefault(family, {}).setdefault(name, estimator)
    if known.__module__ != estimator.__module__:
        raise ValueError(f"metric {name!r} of {estimator.__module__}: {known.__module__} has that name")
    FAMILIES[family][name] = estimator
    return estimator
