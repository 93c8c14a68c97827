"""Published checkpoint files: read without unpickling, and put into a network whole or not at all."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth`` file by name; nothing but tensors is ever unpickled.

    Names lose the ``module.`` that `torch.nn.DataParallel` puts before them.

    Raises:
        ValueError: for a file that holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is no file of tensors alone, nothing of it was loaded: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected tensors by name")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def fill(network: NetworkT, state: Mapping[str, Tensor], path: Path) -> NetworkT:
    """Give a network its weights, and put it into inference mode.

    Args:
        network: whose parameters and buffers are all replaced.
        state: tensors by the network's names.
        path: where they come from, for messages.

    Raises:
        ValueError: naming what is missing, what is too much, what has another shape and what is not finite.
    """
    own = network.state_dict()
    shapes = {name: (tuple(state[name].shape), tuple(own[name].shape)) for name in own.keys() & state.keys()}
    faults = {
        "missing": sorted(own.keys() - state.keys()),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(
            f"{name} {came} instead of {expected}"
            for name, (came, expected) in shapes.items()
            if came != expected
        ),
        "not finite": sorted(name for name in own.keys() & state.keys() if not _is_finite(state[name])),
    }
    found = [f"{kind}: {_listed(names)}" for kind, names in faults.items() if names]
    if found:
        raise ValueError(f"{path} does not fit {type(network).__name__}; {'; '.join(found)}")
    network.load_state_dict(dict(state))
    return network.eval().requires_grad_(False)


def _is_finite(values: Tensor) -> bool:
    return not values.numel() or bool(torch.stack(values.aminmax()).isfinite().all())


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
