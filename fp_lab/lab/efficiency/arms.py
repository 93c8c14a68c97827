"""Arms to measure, and the two controls that they are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fp_lab.baselines import baseline
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.planning.flops import costs_of, shape_of
from fp_lab.packing.context import ContextConfig
from fp_lab.recipe import Recipe, parse
from fp_lab.training.objective import ObjectiveConfig

FULL_HISTORY = "full_history"
FULL_SEQUENCE = "full_sequence"


@dataclass(frozen=True)
class Side:
    """An arm to measure.

    Attributes:
        name: name of the table's row.
        config: resolved settings of the arm.
        compared: whether the arm is a control that others are compared with.
    """

    name: str
    config: ExperimentConfig
    compared: bool = False


def compared(
    arms: Sequence[Side], controls: Sequence[Callable[[ExperimentConfig], Side]]
) -> tuple[Side, ...]:
    """List arms by name, then the controls, at the first arm's sizes."""
    for side in arms:
        if not costs_of(side.config).timed:
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
    """Build the control that sees all frames before a section, uncompressed."""
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
    """Build the control of full-sequence diffusion: all frames but the first noisy at once, no history."""
    return _plain(FULL_SEQUENCE, like, parse(f"g{max(1, like.data.frames - 1)}"))


def _plain(name: str, like: ExperimentConfig, recipe: Recipe) -> Side:
    """Build an arm with the sizes of another, without its options of context and history."""
    return Side(
        name,
        replace(
            like,
            recipe=str(recipe),
            label=name,
            protocol=None,
            context=ContextConfig(),
            objective=ObjectiveConfig(flow=like.objective.flow),
            sampling=like.sampling.without_history(),
        ),
        compared=True,
    )
