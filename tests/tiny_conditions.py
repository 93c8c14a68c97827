"""What tiny transformers of diffusers are told, with random numbers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fp_lab.backbones.hunyuan.condition import HunyuanCondition
from fp_lab.backbones.wan.condition import WanCondition


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def told(captions: Sequence[str], family: str) -> Any:
    tokens = normal(1, 5, 16, seed=1).repeat(len(captions), 1, 1)
    if family == "wan":
        return WanCondition(tokens)
    return HunyuanCondition(tokens, pooled=normal(1, 8, seed=2).repeat(len(captions), 1))
