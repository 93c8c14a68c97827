"""The exponential average of the weights, which is what is kept and sampled from."""

from typing import Protocol, runtime_checkable

from lightning import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fp_lab.model import FramePackModel
from fp_lab.system import FramePackSystem


@runtime_checkable
class Average(Protocol):
    """What knows the averaged model."""

    def collect(self, trainer: Trainer) -> FramePackModel:
        """The averaged model so far; every rank has to ask, and the first one gets it whole."""


class Averaging(WeightAveraging):
    """Averages a model that every rank has whole, all of its weights in one call.

    Args:
        decay: of the average.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    def collect(self, trainer: Trainer) -> FramePackModel:
        """The averaged model so far."""
        assert self._average_model is not None
        system = self._average_model.module
        assert isinstance(system, FramePackSystem)
        return system.model
