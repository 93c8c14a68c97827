"""Exponential moving average of the weights, which is stored and sampled from."""

import copy
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fp_lab.backbones.diffusers.lora import trainable
from fp_lab.model import FramePackModel
from fp_lab.training.framepack_system import FramePackSystem


@runtime_checkable
class Average(Protocol):
    """Interface of callbacks with an averaged model."""

    def collect(self, trainer: Trainer) -> FramePackModel:
        """Return the current averaged model; every rank has to call, and the first one gets it whole."""


class Averaging(WeightAveraging):
    """Averages a model that every rank holds whole, all of its weights in one call.

    Args:
        decay: decay of the average.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    def collect(self, trainer: Trainer) -> FramePackModel:
        """Return the current averaged model."""
        assert self._average_model is not None
        system = self._average_model.module
        assert isinstance(system, FramePackSystem)
        return system.model


class LearnedAveraging(Callback):
    """Averages the trained weights of a model; the frozen ones are neither copied nor stored.

    Args:
        decay: decay of the average.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._average: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move a restored average to its weights' device: a checkpoint is read before they are moved."""
        for name, parameter in trainable(pl_module):
            if name in self._average:
                self._average[name] = self._average[name].to(parameter.device, parameter.dtype)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average; it starts with the first weights, as in torch's `AveragedModel`."""
        learned = {name: parameter.detach() for name, parameter in trainable(pl_module)}
        if not self._average:
            self._average = {name: value.clone() for name, value in learned.items()}
        averages = [self._average[name] for name in learned]
        torch._foreach_lerp_(averages, list(learned.values()), 1 - self.decay)

    def collect(self, trainer: Trainer) -> FramePackModel:
        """Return the current averaged model, which shares frozen weights with the trained one."""
        system = trainer.lightning_module
        assert isinstance(system, FramePackSystem)
        shared = {id(p): p for p in system.model.parameters() if not p.requires_grad}
        model = copy.deepcopy(system.model, shared)
        for name, parameter in trainable(model):
            parameter.data.copy_(self._average[f"model.{name}"])
        return model

    def state_dict(self) -> dict[str, Any]:
        """Return the average, for a checkpoint."""
        return dict(self._average)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the average of an interrupted training."""
        self._average = dict(state_dict)
