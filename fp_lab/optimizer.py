"""AdamW and its learning rate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up, a constant phase and cosine decay.

    Attributes:
        kind: ``adamw``, or ``adamw8bit`` for moments of 8 bits each, by bitsandbytes; those of weights with
            fewer than 4,096 entries have 32.
        learning_rate: peak.
        warmup: steps of linear warm-up.
        decay: share of the steps, at their end, over which the learning rate falls. With less than 1, a run
            that is stopped in its constant phase can go on to another number of steps as if planned so.
        final: last learning rate over the peak.
        weight_decay: of matrices; vectors have none.
        betas: of the moments.
    """

    kind: Literal["adamw", "adamw8bit"] = "adamw"
    learning_rate: float = 2e-3
    warmup: int = 50
    decay: float = 1.0
    final: float = 0.05
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)


def make_optimizer(parameters: Sequence[Tensor], config: OptimizerConfig) -> Optimizer:
    """AdamW for parameters that learn; weight decay on matrices only.

    Raises:
        ValueError: moments of 8 bits without bitsandbytes.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    kind = _adamw_8bit() if config.kind == "adamw8bit" else partial(torch.optim.AdamW, fused=True)
    return kind(groups, config.learning_rate, betas=config.betas)


def learning_rate_share(step: int, steps: int, config: OptimizerConfig) -> float:
    """Learning rate of a step over the peak: up in the warm-up, constant, down a cosine at the end."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    start = max(config.warmup, steps - round(config.decay * steps))
    progress = min(max(step - start, 0) / max(steps - start, 1), 1.0)
    return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * progress))


def _adamw_8bit() -> Callable[..., Optimizer]:
    """AdamW of bitsandbytes, whose moments are quantised in blocks (https://arxiv.org/abs/2110.02861)."""
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as missing:
        raise ValueError(
            "optimizer.kind: got 'adamw8bit' without bitsandbytes, expected it to be installed; get it with "
            "`pip install 'fp_lab[bitsandbytes]'`, or use optimizer.kind=adamw"
        ) from missing
    made: Callable[..., Optimizer] = AdamW8bit
    return made
