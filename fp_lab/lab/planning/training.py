"""Ways of training a real model: what they hold whatever the batch, and what a sample costs."""

from dataclasses import dataclass

from fp_lab.lab.planning.memory import METHODS, SHARDED, Method, Sharding, State, mixed_state
from fp_lab.lab.planning.trace import Trace


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
