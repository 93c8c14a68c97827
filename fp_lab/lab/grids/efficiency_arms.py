"""Which arms are measured, and the two that they are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fp_lab.baselines import BASELINES, baseline
from fp_lab.lab.config import ExperimentConfig, Layer, merge, override_layer, read_layers
from fp_lab.lab.config.find import find_experiment
from fp_lab.lab.encoding.conditions import is_real
from fp_lab.lab.grids.grid import Grid, load_grid
from fp_lab.lab.planning.flops import shape_of
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe, parse
from fp_lab.recipe.notation import RecipeError
from fp_lab.training.objective import ObjectiveConfig

FULL_HISTORY = "full_history"
FULL_SEQUENCE = "full_sequence"


@dataclass(frozen=True)
class Side:
    """An arm to measure.

    Attributes:
        name: of the table's row.
        config: resolved.
        compared: whether others are compared with it.
    """

    name: str
    config: ExperimentConfig
    compared: bool = False


def sides_of(names: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Side, ...]:
    """Arms by their names, then the full history and the full sequence, at the first arm's sizes.

    Args:
        names: ablation names, baselines, or grids whose arms are meant; none for the recipe of ``base``.
        overrides: ``key=value`` settings of every arm.

    Raises:
        ValueError: a name that is none of these.
    """
    arms = [side for name in names or (None,) for side in _named(name, overrides)]
    return _compared(arms, (full_history, full_sequence))


def sides_of_grid(grid: Grid) -> tuple[Side, ...]:
    """The arms of a grid, each once whatever its seeds, and the full sequence.

    Raises:
        ValueError: an arm over a transformer of diffusers.
    """
    return _compared(_arms_once(grid), (full_sequence,))


def _compared(
    arms: Sequence[Side], controls: Sequence[Callable[[ExperimentConfig], Side]]
) -> tuple[Side, ...]:
    """Arms by their names, then what they are compared with, at the first arm's sizes."""
    for side in arms:
        if is_real(side.config):
            raise ValueError(
                f"{side.name}: got {side.config.model.base}, expected one of the lab's own transformers; "
                "what the real ones cost is computed by `fp-lab plan`"
            )
    sides = {side.name: side for side in arms}
    first = arms[0].config
    for side in (control(first) for control in controls):
        sides[side.name] = side
    return tuple(sides.values())


def full_history(like: ExperimentConfig) -> Side:
    """The control that sees all frames before a section of the arm's length, uncompressed."""
    latents = shape_of(like, like.data.frames)
    made = baseline(
        FULL_HISTORY,
        packed=like.recipe,
        frames=latents.frames,
        rows=latents.rows,
        columns=latents.columns,
    )
    return _plain(FULL_HISTORY, like, made.recipe)


def full_sequence(like: ExperimentConfig) -> Side:
    """Full-sequence diffusion: all frames but the first are noisy at once, without history."""
    return _plain(FULL_SEQUENCE, like, parse(f"g{max(1, like.data.frames - 1)}"))


def _plain(name: str, like: ExperimentConfig, recipe: Recipe) -> Side:
    """An arm of an arm's sizes, without that arm's options of context and history."""
    return Side(
        name,
        replace(
            like,
            recipe=str(recipe),
            label=name,
            protocol=None,
            context=ContextConfig(),
            objective=ObjectiveConfig(flow=like.objective.flow),
            sampling=replace(like.sampling, fill=None, history_level=0.0, history_guidance=1.0),
        ),
        compared=True,
    )


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
    """One of the seeds of each arm, by the name of its folder."""
    named = {arm.folder.parent.name: arm.config for arm in grid.arms}
    return [Side(name, config) for name, config in named.items()]
