"""Numbers that have to stay finite: where one does not, work stops, and the message names what and where."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


class NotFinite(ValueError):
    """A loss, gradient, weight, latent or pixel is NaN or infinite."""


def is_finite(values: Tensor) -> bool:
    """Whether no value is NaN or infinite; of a tensor on a GPU this waits for it."""
    if not values.is_floating_point() or values.is_meta or not values.numel():
        return True
    if values.dtype.itemsize == 1:  # torch has no extrema of 8-bit floats
        values = values.float()
    return bool(torch.stack(values.aminmax()).isfinite().all())  # NaN passes through; no mask is made


def check_step(step: int, learning_rate: float, **figures: float) -> None:
    """Stop a training at a step that has a figure which is not finite.

    Args:
        step: counted from 1.
        learning_rate: of the step, for the message.
        figures: by their names, such as ``loss``.

    Raises:
        NotFinite: naming the step and the figures.
    """
    wrong = [f"{name.replace('_', ' ')} {x}" for name, x in figures.items() if not math.isfinite(x)]
    if wrong:
        raise NotFinite(
            f"step {step}: {', '.join(wrong)}, expected finite numbers; the training stops here without a "
            f"model. The learning rate was {learning_rate:g}: lower it if figures grew before this step, "
            "else look at the data and the weights that it began with"
        )


def check_weights(content: Any, where: str) -> None:
    """Refuse weights with a value that is not finite.

    Args:
        content: tensors, in any nesting of mappings and sequences.
        where: what has them, for the message.

    Raises:
        NotFinite: naming the first such tensor.
    """
    if name := _not_finite(content):
        raise NotFinite(
            f"{where}: {name} has values that are not finite, expected finite weights; take another model, "
            "or where a training of yours has diverged, train again with a lower learning rate"
        )


def check_checkpoint(checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of lightning whose weights, averages or moments are not finite.

    The state of callbacks does not count: the best score of one that has seen none is infinite.

    Raises:
        NotFinite: naming its step and the first such tensor.
    """
    kept = {name: part for name, part in checkpoint.items() if name != "callbacks"}
    if name := _not_finite(kept):
        raise NotFinite(
            f"checkpoint of step {checkpoint['global_step']}: {name} has values that are not finite"
        )


def check_video(values: Tensor, where: str) -> None:
    """Stop a video where a part of it is not finite.

    Args:
        values: latents or pixels of the part.
        where: which part, such as ``section 2 of 5``, and what the values are, for the message.

    Raises:
        NotFinite: naming it.
    """
    if not is_finite(values):
        raise NotFinite(
            f"{where}: got values that are not finite, expected finite ones; the video stops here. What may "
            "help: float32 or bfloat16 in place of float16, less guidance, another model"
        )


def _not_finite(content: Any) -> str:
    """Name of the first tensor with a value that is not finite; empty if there is none."""
    return next((name for name, values in _tensors(content, "") if not is_finite(values)), "")


def _tensors(content: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, part in content.items():
            yield from _tensors(part, f"{name}.{key}" if name else str(key))
    elif isinstance(content, (list, tuple)):
        for index, part in enumerate(content):
            yield from _tensors(part, f"{name}[{index}]")
