"""A torchmetrics class whose result is a `Series`: the state that all per-frame measures share."""

import functools
import warnings
from array import array
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fp_metrics.series import Series


class SeriesMetric(Metric):
    """Keeps values and their positions, gathers them over processes, and makes a `Series` of them.

    Attributes:
        name: ``family/what-it-really-is``.
        unit: unit or range of its values.
        higher_is_better: direction.
        span: consecutive frames that one value looks at.
        least_frames: fewer frames than this make the score undefined.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = "[0, 1]"
    higher_is_better: bool | None = True
    is_differentiable: bool | None = False
    full_state_update: bool | None = False
    span: int = 1
    least_frames: int = 1

    values: list[Tensor] | Tensor
    positions: list[Tensor] | Tensor
    frames: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("values", default=[], dist_reduce_fx="cat")
        self.add_state("positions", default=[], dist_reduce_fx="cat")
        self.add_state("frames", default=torch.tensor(0), dist_reduce_fx="sum")
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        # many small tensors would keep the allocator from returning the large ones between them
        self._waiting_values, self._waiting_positions = array("d"), array("q")

    def keep(self, values: Sequence[float], positions: Sequence[int], frames: int) -> None:
        """Add values and their positions, measured on a number of new frames."""
        self.frames += frames
        self._waiting_values.extend(values)
        self._waiting_positions.extend(positions)

    def settle(self) -> None:
        """Put what waits into the state that processes share."""
        if self._waiting_values:
            assert isinstance(self.values, list), "update after sync: unsync first"
            assert isinstance(self.positions, list), "update after sync: unsync first"
            self.values.append(torch.tensor(self._waiting_values, dtype=torch.float64))
            self.positions.append(torch.tensor(self._waiting_positions, dtype=torch.int64))
            self._forget_waiting()

    def reset(self) -> None:
        """Forget all values."""
        super().reset()
        self._forget_waiting()

    def aggregate(self, values: NDArray[np.float64]) -> float:
        """The score of a run of values, at least one of them finite."""
        return float(np.nanmean(values))

    def undefined(self) -> str:
        """Why no value could be measured although there were enough frames."""
        return "no frame could be measured"

    def compute(self) -> Series:
        """The series of all frames taken so far, over all processes."""
        self.settle()
        if not len(self.values):
            return self.summarise(np.zeros(0), np.zeros(0, dtype=np.int64), int(self.frames))
        values, positions = (
            dim_zero_cat(self.values).cpu().numpy(),
            dim_zero_cat(self.positions).cpu().numpy(),
        )
        ascending = np.argsort(positions, kind="stable")
        return self.summarise(values[ascending], positions[ascending], int(self.frames))

    def summarise(self, values: NDArray[np.float64], positions: NDArray[np.int64], frames: int) -> Series:
        """A series from values measured on a number of frames; NaN with a reason where it is undefined."""
        reason: str | None = None
        if frames < self.least_frames:
            reason = f"needs at least {self.least_frames} frame(s), got {frames}"
        elif not len(values):
            reason = f"needs {self.span} consecutive frames, got {frames} frames but never so many in a row"
        elif not np.isfinite(values).any():
            reason = self.undefined()
        score = float("nan") if reason else self.aggregate(values)
        return Series(values, positions, score, self.unit, self.span, reason)

    def forward(self, *args: Any, **kwargs: Any) -> Series:
        """Take frames and return the series so far: a video's values depend on their neighbours."""
        self.update(*args, **kwargs)
        return self.compute()

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes, also where one has no value yet."""
        self.settle()
        for state, dtype in (("values", torch.float64), ("positions", torch.int64)):
            if not len(getattr(self, state)):
                setattr(self, state, [torch.zeros(0, dtype=dtype, device=self.device)])
        super().sync(*args, **kwargs)

    def _wrap_compute(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        # torchmetrics walks through results and refuses frozen dataclasses: hand it a function instead
        wrapped = super()._wrap_compute(lambda: functools.partial(_identity, compute()))

        @functools.wraps(compute)
        def unwrapped() -> Any:
            with warnings.catch_warnings():  # no frames at all is a reason in the series, not a warning
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                return wrapped()()

        return unwrapped


def check_frames(frames: Tensor) -> None:
    """Refuse anything but float ``(n, 3, h, w)`` in [0, 1].

    Raises:
        ValueError: with what came and what was expected.
    """
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise ValueError(f"got frames of shape {tuple(frames.shape)}, expected (n, 3, h, w)")
    if not frames.is_floating_point():
        raise ValueError(
            f"got frames of type {frames.dtype}, expected float32 in [0, 1]; divide uint8 by 255"
        )
    if frames.numel():
        low, high = frames.aminmax()
        if not (low >= -1e-4 and high <= 1 + 1e-4):
            raise ValueError(
                f"got frames with values in [{float(low):.4g}, {float(high):.4g}], expected [0, 1]; "
                "rescale or clamp them (NaN is not allowed)"
            )


def _identity(value: Any) -> Any:
    return value
