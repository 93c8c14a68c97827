"""A training whose weights, gradients and moments are spread over the ranks (FSDP), each having a part."""

import copy
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from fp_lab.backbones.tiny_blocks import Block
from fp_lab.model import FramePackModel
from fp_lab.system import FramePackSystem, LatentBatch

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_KEY = "fp_lab_average"


class ShardedSystem(FramePackSystem):
    """The same training; each block of the transformer is put together only while it is at work."""

    def configure_model(self) -> None:
        """Deal the parameters out to the ranks."""
        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for block in self.model.backbone.blocks:
            assert isinstance(block, Block)
            if block.cross is not None:
                fully_shard(block.cross, mesh=mesh)
                register_fsdp_forward_method(block.cross, "words")  # called before the block is
            fully_shard(block, mesh=mesh)
        fully_shard(self, mesh=mesh)
        register_fsdp_forward_method(self, "training_step")

    def training_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Velocity loss; kernels that a rank's contexts leave out take part with gradients of 0.

        Ranks add up the gradients of whole groups of parameters, so all have to bring the same ones.
        """
        loss = super().training_step(batch, batch_idx)
        return loss + sum(0 * parameter.sum() for parameter in self.model.packer.parameters())

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all ranks."""
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        assert isinstance(self.gradient_norm, DTensor)
        self.gradient_norm = self.gradient_norm.full_tensor()


class ShardedAveraging(Callback):
    """Averages a model of which every rank has a part: each averages its own.

    Args:
        decay: of the average.
        model: that is trained, still whole.
    """

    def __init__(self, decay: float, model: FramePackModel) -> None:
        self.decay = decay
        self._whole = copy.deepcopy(model)
        self._average: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a step's weights in; the first ones are the average, as in torch's `AveragedModel`."""
        if not self._average:
            self._average = _copies(pl_module)
        for average, parameter in zip(self._average, pl_module.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - self.decay)

    def collect(self, trainer: Trainer) -> FramePackModel:
        """The averaged model so far, put together on the first rank."""
        state = self._gather(trainer)
        if trainer.is_global_zero:
            self._whole.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
        return self._whole

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the average beside the weights."""
        checkpoint[_KEY] = self._gather(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the average up again: the model itself deals it out to the ranks."""
        module = _sharded(trainer)
        weights = _copies(pl_module)
        set_model_state_dict(module, checkpoint[_KEY], options=StateDictOptions(full_state_dict=True))
        self._average = _copies(pl_module)
        _put(pl_module, weights)

    def _gather(self, trainer: Trainer) -> dict[str, Any]:
        """The whole average on the CPU of the first rank, nothing on the others; by way of the model."""
        module = _sharded(trainer)
        weights = _copies(module)
        _put(module, self._average)
        state = get_model_state_dict(module, options=_WHOLE)
        _put(module, weights)
        return state


def _sharded(trainer: Trainer) -> nn.Module:
    module = trainer.strategy.model
    assert module is not None
    return module


def _copies(module: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in module.parameters()]


@torch.no_grad()
def _put(module: nn.Module, values: list[Tensor]) -> None:
    for parameter, value in zip(module.parameters(), values, strict=True):
        parameter.copy_(value)
