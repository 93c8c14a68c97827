"""Training with weights, gradients and moments sharded over ranks (FSDP)."""

import copy
import warnings
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from fp_lab.backbones.diffusers.lora import trainable
from fp_lab.backbones.tiny.blocks import Block
from fp_lab.model import FramePackModel
from fp_lab.training.framepack_system import FramePackSystem, LatentBatch

_KEY = "fp_lab_average"


class ShardedSystem(FramePackSystem):
    """Sharded training logic; each block of the transformer is gathered only while in use.

    Modules around the blocks are gathered for the whole step, so they may be read outside of a call.
    """

    def configure_model(self) -> None:
        """Shard the parameters over the ranks."""
        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for block in self.model.backbone.blocks:
            if isinstance(block, Block) and block.cross is not None:
                fully_shard(block.cross, mesh=mesh)
                register_fsdp_forward_method(block.cross, "words")  # called before the block is
            fully_shard(block, mesh=mesh)
        fully_shard(self, mesh=mesh)
        register_fsdp_forward_method(self, "training_step")

    def training_step(self, batch: LatentBatch, batch_idx: int) -> Tensor:
        """Compute the velocity loss; kernels unused by a rank's contexts take part with gradients of 0.

        Gradients are reduced over ranks in whole groups of parameters, so all ranks need the same ones.
        """
        with warnings.catch_warnings():
            # of HunyuanVideo's blocks, whose outputs nothing changes in place
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
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
    """Averages a sharded model: each rank averages its own part of the trained weights.

    Args:
        decay: decay of the average.
        model: model to train, still whole; its frozen weights are shared, not copied.
    """

    def __init__(self, decay: float, model: FramePackModel) -> None:
        self.decay = decay
        shared = {
            id(parameter): nn.Parameter(parameter.detach(), requires_grad=False)
            for parameter in model.parameters()
            if not parameter.requires_grad
        }
        self._whole = copy.deepcopy(model, shared)
        self._average: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average; it starts with the first weights, as in torch's `AveragedModel`."""
        learned = _learned(pl_module)
        if not self._average:
            self._average = {name: value.clone() for name, value in learned.items()}
        for name, value in learned.items():
            self._average[name].lerp_(value, 1 - self.decay)

    @torch.no_grad()
    def collect(self, trainer: Trainer) -> FramePackModel:
        """Return the current averaged model, gathered on the first rank."""
        state = self._gather(trainer)
        learned = dict(trainable(self._whole))
        for name, value in state.items():
            learned[name.removeprefix("model.")].copy_(value)
        return self._whole

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Store the average beside the weights."""
        checkpoint[_KEY] = self._gather(trainer)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the average, sharded as the weights are."""
        for name, value in _learned(pl_module).items():
            whole = checkpoint[_KEY][name].to(value.device, value.dtype)
            self._average[name] = distribute_tensor(whole, value.device_mesh, value.placements)

    def _gather(self, trainer: Trainer) -> dict[str, Tensor]:
        """Gather the average on the CPU of the first rank; nothing on the others."""
        state = {}
        for name, value in self._average.items():
            assert isinstance(value, DTensor)
            whole = value.full_tensor()  # of all ranks
            if trainer.is_global_zero:
                state[name] = whole.cpu()
        return state


def _learned(module: nn.Module) -> dict[str, DTensor]:
    """This rank's parts of the trained weights, by name."""
    parts = {}
    for name, parameter in trainable(module):
        part = parameter.detach()
        assert isinstance(part, DTensor)
        parts[name] = part
    return parts
