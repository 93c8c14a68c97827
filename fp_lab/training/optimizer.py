"""AdamW, Muon beside it, and the learning rate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from fp_lab.checks.ranges import check_ranges
from fp_lab.recipe import BASE


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW or Muon with warm-up, a constant phase and cosine decay.

    Attributes:
        kind: ``adamw``; ``adamw8bit`` for moments of 8 bits each, by bitsandbytes; those of weights with
            fewer than 4,096 entries have 32. ``muon`` orthogonalises the updates of the matrices in the
            transformer's blocks, scaled to the size of AdamW's (https://arxiv.org/abs/2502.16982), and leaves
            all else to AdamW.
        learning_rate: peak.
        warmup: steps of linear warm-up.
        decay: share of the steps, at their end, over which the learning rate falls. With less than 1, a run
            that is stopped in its constant phase can go on to another number of steps as if planned so.
        final: last learning rate over the peak.
        weight_decay: of matrices; vectors have none.
        betas: of the moments.
        projections: learning rate of the context's projections. ``fan_in`` divides it by the square root of
            how many times larger a kernel is than the base's (1, 2, 2): AdamW moves each of the n inputs of a
            token by as much, so the tokens of a large kernel move faster, up to n times where inputs agree,
            and nothing can learn to read them (https://arxiv.org/abs/2203.03466). ``same`` leaves it.
    """

    kind: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    learning_rate: float = 2e-3
    warmup: int = 50
    decay: float = 1.0
    final: float = 0.05
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    projections: Literal["fan_in", "same"] = "fan_in"

    def __post_init__(self) -> None:
        """Refuse what no optimizer can do."""
        check_ranges(
            "optimizer",
            self,
            learning_rate="[0, inf)",
            warmup="[0, inf)",
            decay="[0, 1]",
            final="[0, inf)",
            weight_decay="[0, inf)",
            betas="[0, 1)",
        )


class MuonAdamW(Optimizer):
    """Muon for some matrices and AdamW for the rest, as one optimizer: one state, one list of groups."""

    def __init__(self, muon: Optimizer, adamw: Optimizer) -> None:
        self.parts = muon, adamw
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state, as `load_state_dict` does."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        muon, adamw = self.parts
        count = len(muon.param_groups)
        muon.param_groups, adamw.param_groups = self.param_groups[:count], self.param_groups[count:]
        muon.state = adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss


def make_optimizer(
    parameters: Sequence[Tensor],
    config: OptimizerConfig,
    matrices: Sequence[Tensor] = (),
    projections: Sequence[Tensor] = (),
) -> Optimizer:
    """The optimizer of parameters that learn; weight decay on matrices only.

    Args:
        parameters: all of them.
        config: which optimizer.
        matrices: those of the transformer's blocks, for ``muon``.
        projections: weights ``d c t h w`` of the context's projections.

    Raises:
        ValueError: moments of 8 bits without bitsandbytes.
    """
    if config.kind == "muon":
        chosen = {id(matrix) for matrix in matrices}
        rest = [p for p in parameters if id(p) not in chosen]
        muon = torch.optim.Muon(
            [p for p in parameters if id(p) in chosen],
            config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        return MuonAdamW(muon, make_optimizer(rest, replace(config, kind="adamw"), (), projections))
    slower = {} if config.projections == "same" else {id(p): projection_share(p) for p in projections}
    groups: list[dict[str, Any]] = []
    for decays, weight_decay in ((True, config.weight_decay), (False, 0.0)):
        alike = [p for p in parameters if (p.ndim >= 2) == decays]
        for share in sorted({1.0, *(slower.get(id(p), 1.0) for p in alike)}, reverse=True):
            group = [p for p in alike if slower.get(id(p), 1.0) == share]
            groups.append({"params": group, "weight_decay": weight_decay, "lr": share * config.learning_rate})
    kind = _adamw_8bit() if config.kind == "adamw8bit" else partial(torch.optim.AdamW, fused=True)
    return kind(groups, config.learning_rate, betas=config.betas)


def projection_share(weight: Tensor) -> float:
    """Learning rate of a projection's weight ``d c t h w``, over that of the base kernel's."""
    return math.sqrt(BASE.volume / weight[0, 0].numel())


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
            "`pip install -e '.[bitsandbytes]'`, or use optimizer.kind=adamw"
        ) from missing
    made: Callable[..., Optimizer] = AdamW8bit
    return made
