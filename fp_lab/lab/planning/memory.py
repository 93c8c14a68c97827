"""What training holds on each card, and the largest batch that fits beside it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fp_lab.lab.planning.trace import Trace

Method = Literal["full", "lora"]
METHODS: tuple[Method, ...] = ("full", "lora")
Sharding = Literal["ddp", "zero1", "zero2", "fsdp"]
SHARDED: Mapping[Sharding, frozenset[str]] = {
    "ddp": frozenset(),
    "zero1": frozenset({"optimizer", "averaged"}),
    "zero2": frozenset({"optimizer", "averaged", "gradients"}),
    "fsdp": frozenset({"optimizer", "averaged", "gradients", "weights"}),
}
"""What each way of sharding divides among the cards (ZeRO stages 0 to 3, https://arxiv.org/abs/1910.02054)."""
GIB = 2**30
USABLE = 0.95
"""Share of a card's memory that is planned with; the rest is left to the driver, buffers and fragments."""


@dataclass(frozen=True)
class State:
    """Bytes that training holds whatever the batch.

    Attributes:
        weights: that the forward pass uses.
        gradients: of what is trained.
        optimizer: AdamW's two moments, and a float32 copy of weights that are used in bfloat16.
        averaged: the moving average of what is trained.
        gathered: with sharded weights, those of the block at work and of the next, whole.
    """

    weights: float
    gradients: float
    optimizer: float
    averaged: float
    gathered: float = 0.0

    @property
    def total(self) -> float:
        """On one card that holds everything."""
        return self.weights + self.gradients + self.optimizer + self.averaged

    def per_card(self, sharding: Sharding, cards: int) -> float:
        """Bytes on each of so many cards."""
        divided = SHARDED[sharding]
        held = sum(
            getattr(self, part) / (cards if part in divided else 1)
            for part in ("weights", "gradients", "optimizer", "averaged")
        )
        return held + (self.gathered if cards > 1 and "weights" in divided else 0)


def float32_state(parameters: int) -> State:
    """Everything trained in float32, as experiments do: 4 + 4 + 8 + 4 bytes per parameter."""
    return State(4 * parameters, 4 * parameters, 8 * parameters, 4 * parameters)


def mixed_state(parameters: int, trained: int, largest_block: int) -> State:
    """Weights and gradients in bfloat16, the rest in float32: 2 bytes, and 2 + 12 + 4 where trained.

    Args:
        parameters: all, those that are trained too.
        trained: of them.
        largest_block: parameters of it.
    """
    return State(2 * parameters, 2 * trained, 12 * trained, 4 * trained, 2 * 2 * largest_block)


def largest_batch(memory: float, state: float, per_sample: float) -> int:
    """Samples that fit at once beside the state; 0 where none does, or the state itself does not.

    Args:
        memory: of a card, bytes.
        state: that it holds whatever the batch, bytes.
        per_sample: activations of a sample, bytes.
    """
    return max(0, math.floor((memory - state) / per_sample))


@dataclass(frozen=True)
class Hardware:
    """Cards of one kind.

    Attributes:
        cards: at most so many.
        memory_gb: of each, GiB.
        tflops: peak of each, in 10^12 dense bfloat16 operations per second; 312 is an A100's.
        utilisation: share of the peak that training reaches, in (0, 1].
    """

    cards: int = 8
    memory_gb: float = 80.0
    tflops: float = 312.0
    utilisation: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what no card can be."""
        if self.cards < 1:
            raise ValueError(f"cards: got {self.cards}, expected at least 1")
        for name in ("memory_gb", "tflops"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected more than 0")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation: got {self.utilisation}, expected a share of the peak in (0, 1]")

    @property
    def usable(self) -> float:
        """Bytes of each card that are planned with."""
        return USABLE * self.memory_gb * GIB

    @property
    def speed(self) -> float:
        """Operations per second that each card reaches."""
        return self.tflops * 1e12 * self.utilisation

    @property
    def rate(self) -> str:
        """`speed` in words."""
        return f"{self.utilisation:.0%} of {self.tflops:g} TFLOP/s"


@dataclass(frozen=True)
class Training:
    """How the model is trained.

    Attributes:
        method: ``full``, or ``lora``: adapters on the attention and MLP of all blocks, as
            `fp_lab.backbones.diffusers.lora.LoraConfig` has them by default, and the packer whole.
        sharding: what is divided among the cards, see `SHARDED`.
        checkpointing: whether each block is done again in the backward pass.
        rank: of LoRA.
    """

    method: Method = "lora"
    sharding: Sharding = "fsdp"
    checkpointing: bool = True
    rank: int = 16

    def __post_init__(self) -> None:
        """Refuse names that do not exist."""
        if self.method not in METHODS:
            raise ValueError(f"method: got {self.method!r}, expected one of {', '.join(METHODS)}")
        if self.sharding not in SHARDED:
            raise ValueError(f"sharding: got {self.sharding!r}, expected one of {', '.join(SHARDED)}")
        if self.rank < 1:
            raise ValueError(f"rank: got {self.rank}, expected at least 1")

    def state(self, cost: Trace) -> State:
        """Bytes that it holds for a model whatever the batch."""
        if self.method == "full":
            return mixed_state(cost.parameters, cost.parameters, cost.largest_block)
        adapters = self.rank * cost.low_rank
        return mixed_state(cost.parameters + adapters, adapters + cost.packer, cost.largest_block)

    def flops(self, cost: Trace) -> float:
        """Floating-point operations of a training sample.

        A backward pass takes two matrix products for each of the forward pass, but one where the weights are
        frozen; checkpointing does the forward pass once more. Products of adapters and packer are left out,
        about 1 %; `fp_lab.lab.planning.step_flops` counts them.
        """
        again = cost.flops if self.checkpointing else 0
        products = 1 if self.method == "lora" else 2
        return cost.flops + again + products * cost.matmul_flops + 2 * cost.attention_flops

    def activations(self, cost: Trace) -> int:
        """Bytes per sample. LoRA's are counted as full fine-tuning's: an upper bound."""
        return cost.checkpointed if self.checkpointing else cost.activations
