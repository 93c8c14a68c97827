"""Arms of a comparison, with short labels, in the order of tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fp_lab.lab.results.labels import compression_of, short_labels
from fp_lab.lab.results.run_index import RunFacts, training_seed
from fp_lab.packing.token_counts import context_limit
from fp_lab.recipe import COMPRESSIONS, Recipe, parse


@dataclass(frozen=True)
class Arm:
    """One row of a comparison.

    Attributes:
        name: folder name of the arm: recipe or label, and other axes after ``--``.
        recipe: parsed recipe.
        label: short label for plots, unique among the arms.
        context_tokens: largest number of context tokens of a section; None without bound.
        seeds: training seeds that have scores.
        folders: run folders, in the order of `seeds`.
    """

    name: str
    recipe: Recipe
    label: str
    context_tokens: int | None
    seeds: tuple[int, ...]
    folders: tuple[Path, ...]

    @property
    def control(self) -> bool:
        """Whether this is the positive control, without any history."""
        return self.recipe.order == "none"


def arms_of(runs: Mapping[Path, RunFacts]) -> tuple[Arm, ...]:
    """Return the arms of some runs, vanilla orders first and controls last.

    Args:
        runs: facts of the runs by folder, ``<arm>/seed<k>``.
    """
    by_name: dict[str, list[Path]] = {}
    for run in runs:
        by_name.setdefault(run.parent.name, []).append(run)
    recipes = {name: parse(runs[folders[0]].recipe) for name, folders in by_name.items()}
    labels = short_labels(recipes)
    arms = []
    for name, folders in by_name.items():
        limit = context_limit(recipes[name], *latent_size(runs[folders[0]]))
        seeds = tuple(training_seed(folder) or 0 for folder in folders)
        arms.append(Arm(name, recipes[name], labels[name], limit, seeds, tuple(folders)))
    return tuple(sorted(arms, key=_rank))


_ORDERS = ("vanilla", "endpoint", "inverted", "planned", "none")


def _rank(arm: Arm) -> tuple[int, int, int, int, str]:
    """Sort key: orders together, compressions in the order of their table, sizes as numbers, control last."""
    compression = compression_of(arm.recipe).partition(" + ")[0]
    known = [name.replace("_", " ") for name in COMPRESSIONS]
    return (
        _ORDERS.index(arm.recipe.order),
        known.index(compression) if compression in known else len(known),
        arm.recipe.codebook or 0,
        -arm.recipe.section,
        arm.name,
    )


def latent_size(facts: RunFacts) -> tuple[int, int]:
    """Latent rows and columns of a run."""
    stride = int(facts.size["stride"])
    return int(facts.size["height"]) // stride, int(facts.size["width"]) // stride
