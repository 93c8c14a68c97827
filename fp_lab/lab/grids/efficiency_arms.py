"""Arms that `fp-lab efficiency` measures, by names of recipes, baselines or grids."""

from collections.abc import Sequence

from fp_lab.baselines import BASELINES
from fp_lab.lab.config import ExperimentConfig, Layer, merge, override_layer, read_layers
from fp_lab.lab.efficiency.arms import Side, compared, full_history, full_sequence
from fp_lab.lab.files.experiments import find_experiment
from fp_lab.lab.grids.grid import Grid, load_grid
from fp_lab.recipe import parse
from fp_lab.recipe.notation import RecipeError


def sides_of(names: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Side, ...]:
    """Return arms by name, then the full history and the full sequence, at the first arm's sizes.

    Args:
        names: names of ablations, baselines or grids; empty: the recipe of ``base``.
        overrides: ``key=value`` settings of every arm.

    Raises:
        ValueError: a name is unknown.
    """
    arms = [side for name in names or (None,) for side in _named(name, overrides)]
    return compared(arms, (full_history, full_sequence))


def sides_of_grid(grid: Grid) -> tuple[Side, ...]:
    """Return the arms of a grid, each once whatever its seeds, and the full sequence.

    Raises:
        ValueError: an arm is over a transformer of diffusers.
    """
    return compared(_arms_once(grid), (full_sequence,))


def _named(name: str | None, overrides: Sequence[str]) -> list[Side]:
    base, override = (
        read_layers(find_experiment("base"), ExperimentConfig),
        override_layer(overrides, ExperimentConfig),
    )
    if name is None:
        config = merge([*base, override])
        return [Side(config.recipe, config)]
    if name in BASELINES:
        return [Side(name, merge([*base, Layer(name, {"baseline": name}), override]))]
    try:
        config = merge([*base, Layer(name, {"recipe": str(parse(name))}), override])
    except RecipeError as error:
        return _arms_of_grid(name, overrides, error)
    return [Side(config.recipe, config)]


def _arms_of_grid(name: str, overrides: Sequence[str], error: RecipeError) -> list[Side]:
    try:
        path = find_experiment(name)
    except ValueError:
        raise ValueError(
            f"got {name!r}, expected a grid such as demo, a baseline ({', '.join(BASELINES)}), or an "
            f"ablation name: {error}"
        ) from error
    return _arms_once(load_grid(path, overrides))


def _arms_once(grid: Grid) -> list[Side]:
    """Pick one seed of each arm, by folder name."""
    named = {arm.folder.parent.name: arm.config for arm in grid.arms}
    return [Side(name, config) for name, config in named.items()]
