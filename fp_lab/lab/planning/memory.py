"""Memory of training on each card, and the largest batch that fits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fp_lab.checks.ranges import MOST_CARDS, MOST_RANK
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
"""Parts divided among the cards by each way of sharding (ZeRO stages 0 to 3, https://arxiv.org/abs/1910.02054)."""
MOST_OF_A_CARD = 1_000_000
"""Largest number of GiB and of TFLOP/s of a card: far beyond all that there is."""
GIB = 2**30
USABLE = 0.95
"""Usable share of a card's memory; the rest is left to the driver, buffers and fragmentation."""


@dataclass(frozen=True)
class State:
    """Memory of training that does not depend on the batch, bytes.

    Attributes:
        weights: bytes of the weights that the forward pass uses.
        gradients: bytes of the gradients of trained weights.
        optimizer: bytes of AdamW's two moments, and of a float32 copy of weights used in bfloat16.
        averaged: bytes of the moving average of trained weights.
        gathered: bytes of the whole weights of the current block and the next, where weights are sharded.
    """

    weights: float
    gradients: float
    optimizer: float
    averaged: float
    gathered: float = 0.0

    @property
    def total(self) -> float:
        """Bytes on one card that holds everything."""
        return self.weights + self.gradients + self.optimizer + self.averaged

    def per_card(self, sharding: Sharding, cards: int) -> float:
        """Bytes on each card."""
        divided = SHARDED[sharding]
        held = sum(
            getattr(self, part) / (cards if part in divided else 1)
            for part in ("weights", "gradients", "optimizer", "averaged")
        )
        return held + (self.gathered if cards > 1 and "weights" in divided else 0)


def float32_state(parameters: int) -> State:
    """Everything in float32, as in experiments: 4 + 4 + 8 + 4 bytes per parameter."""
    return State(4 * parameters, 4 * parameters, 8 * parameters, 4 * parameters)


def mixed_state(parameters: int, trained: int, largest_block: int) -> State:
    """Weights and gradients in bfloat16, the rest in float32: 2 bytes a parameter, and 2 + 12 + 4 if trained.

    Args:
        parameters: number of all parameters, trained ones included.
        trained: number of trained parameters.
        largest_block: number of parameters of the largest block.
    """
    return State(2 * parameters, 2 * trained, 12 * trained, 4 * trained, 2 * 2 * largest_block)


def largest_batch(memory: float, state: float, per_sample: float) -> int:
    """Number of samples that fit beside the state; 0 where none does, or the state itself does not.

    Args:
        memory: memory of a card, bytes.
        state: memory that does not depend on the batch, bytes.
        per_sample: activations of a sample, bytes.
    """
    return max(0, math.floor((memory - state) / per_sample))


@dataclass(frozen=True)
class Hardware:
    """Cards of one kind.

    Attributes:
        cards: largest number of cards.
        memory_gb: memory of each card, GiB.
        tflops: peak rate of each card, 10^12 dense bfloat16 operations per second; 312 for an A100.
        utilisation: share of the peak that training reaches, in (0, 1].
    """

    cards: int = 8
    memory_gb: float = 80.0
    tflops: float = 312.0
    utilisation: float = 0.4

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.cards <= MOST_CARDS:
            raise ValueError(f"cards: got {self.cards}, expected at least 1 and at most {MOST_CARDS}")
        for name in ("memory_gb", "tflops"):
            if not 0 < getattr(self, name) <= MOST_OF_A_CARD:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, expected more than 0 and at most {MOST_OF_A_CARD}"
                )
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation: got {self.utilisation}, expected a share of the peak in (0, 1]")

    @property
    def usable(self) -> float:
        """Usable bytes of each card."""
        return USABLE * self.memory_gb * GIB

    @property
    def speed(self) -> float:
        """Reached operations per second of each card."""
        return self.tflops * 1e12 * self.utilisation

    @property
    def rate(self) -> str:
        """Description of `speed`."""
        return f"{self.utilisation:.0%} of {self.tflops:g} TFLOP/s"


@dataclass(frozen=True)
class Training:
    """Way of training a model.

    Attributes:
        method: ``full``, or ``lora``: adapters on the attention and MLP of all blocks, as
            `fp_lab.backbones.diffusers.lora.LoraConfig` has them by default, and the packer whole.
        sharding: parts divided among the cards, see `SHARDED`.
        checkpointing: whether each block is recomputed in the backward pass.
        rank: rank of LoRA.
    """

    method: Method = "lora"
    sharding: Sharding = "fsdp"
    checkpointing: bool = True
    rank: int = 16

    def __post_init__(self) -> None:
        """Check the names."""
        if self.method not in METHODS:
            raise ValueError(f"method: got {self.method!r}, expected one of {', '.join(METHODS)}")
        if self.sharding not in SHARDED:
            raise ValueError(f"sharding: got {self.sharding!r}, expected one of {', '.join(SHARDED)}")
        if not 1 <= self.rank <= MOST_RANK:
            raise ValueError(f"rank: got {self.rank}, expected at least 1 and at most {MOST_RANK}")

    def state(self, cost: Trace) -> State:
        """Memory of a model's training that does not depend on the batch, bytes."""
        if self.method == "full":
            return mixed_state(cost.parameters, cost.parameters, cost.largest_block)
        adapters = self.rank * cost.low_rank
        return mixed_state(cost.parameters + adapters, adapters + cost.packer, cost.largest_block)

    def flops(self, cost: Trace) -> float:
        """Floating-point operations of a training sample.

        A backward pass takes two matrix products for each of the forward pass, or one where the weights are
        frozen; checkpointing repeats the forward pass. Products of adapters and packer are left out, about 1
        %; `fp_lab.lab.planning.step_flops` counts them.
        """
        again = cost.flops if self.checkpointing else 0
        products = 1 if self.method == "lora" else 2
        return cost.flops + again + products * cost.matmul_flops + 2 * cost.attention_flops

    def activations(self, cost: Trace) -> int:
        """Bytes of activations per sample. LoRA's are counted as full fine-tuning's: an upper bound."""
        return cost.checkpointed if self.checkpointing else cost.activations
