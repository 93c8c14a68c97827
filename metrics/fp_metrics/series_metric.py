"""A torchmetrics class whose result is a `Series`: the state that all per-frame measures share."""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from fp_metrics.pieces import Piece, join
from fp_metrics.series import Series

_STATES = ("values", "positions", "runs")


class SeriesMetric(Metric):
    """Keeps values and their positions, gathers them over processes, and makes a `Series` of them.

    Pieces of a video that were measured apart, by `merge_state` or in several processes, are put together
    where they are the video measured at once, and refused where they are not, see `fp_metrics.pieces.join`.

    Attributes:
        name: ``family/what-it-really-is``.
        unit: unit or range of its values.
        higher_is_better: direction; None where neither is better.
        span: consecutive frames that one value looks at.
        every: frames from one value to the next.
        least_frames: fewer frames than this make the score undefined.
        remembers: whether a value depends on frames before those it looks at, such as the first one.
        by_position: whether a value depends on which frames of the video it looks at.
    """

    name: ClassVar[str]
    unit: ClassVar[str] = "[0, 1]"
    higher_is_better: bool | None = True
    is_differentiable: bool | None = False
    full_state_update: bool | None = False
    span: int = 1
    every: int = 1
    least_frames: int = 1
    remembers: bool = False
    by_position: bool = False

    values: list[Tensor]
    positions: list[Tensor]
    runs: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # without a reduction torchmetrics leaves what it gathers apart: one tensor per process, in order
        for state in _STATES:
            self.add_state(state, default=[], dist_reduce_fx=None)
        # NaN equals nothing: a MetricCollection takes metrics with equal states (no value yet, say) for one
        self.add_state("apart", default=torch.tensor(float("nan")), dist_reduce_fx="max")
        self._merged = False

    @property
    def frames(self) -> int:
        """Frames taken so far."""
        return sum(piece.frames for piece in self._pieces())

    def _pieces(self) -> list[Piece]:
        """What was measured, piece by piece: one, but while processes are gathered."""
        return [Piece(*states) for states in zip(self.values, self.positions, self.runs, strict=True)]

    def _hold(self, piece: Piece) -> None:
        self.values, self.positions, self.runs = [piece.values], [piece.positions], [piece.runs]

    def _joined(self, pieces: Sequence[Piece]) -> Piece:
        return join(
            pieces,
            name=self.name,
            span=self.span,
            every=self.every,
            remembers=self.remembers,
            by_position=self.by_position,
        )

    def keep(self, values: Sequence[float], positions: Sequence[int], frames: Sequence[int]) -> None:
        """Add values and their positions, measured on new frames of these indices.

        Raises:
            ValueError: another metric was merged into this one, and values that look at both would be lost.
        """
        if self._merged and (self.span > 1 or self.every > 1 or self.remembers):
            raise ValueError(
                f"{self.name}: got frames after merge_state, expected none: it looks at more than one frame "
                "at once; merge when all frames have been taken, or reset it"
            )
        (piece,) = self._pieces() or [Piece.empty(self.device)]
        self._hold(piece.with_values(values, positions, frames))

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add what another metric has measured on other frames of the same video.

        Frames whose positions were not given to `update` follow those of this metric.

        Raises:
            ValueError: it is a metric of another kind, or both are not what the whole video would give (they
                have frames in common, or values look at frames of both, or at the first one).
        """
        if isinstance(incoming_state, Metric):
            if type(incoming_state) is not type(self):
                raise ValueError(
                    f"{self.name}: got a {type(incoming_state).__name__}, expected a {type(self).__name__}"
                )
            incoming_state = incoming_state.metric_state
        if missing := [state for state in _STATES if state not in incoming_state]:
            raise ValueError(f"{self.name}: got a state without {missing[0]}, expected {', '.join(_STATES)}")
        incoming = map(Piece, *(incoming_state[state] for state in _STATES))
        self._hold(self._joined([*self._pieces(), *incoming]))
        self._computed, self._merged = None, True
        self._update_count += 1

    def reset(self) -> None:
        """Forget all values."""
        super().reset()
        self._merged = False

    def aggregate(self, values: NDArray[np.float64]) -> float:
        """The score of a run of values, at least one of them finite."""
        return float(np.nanmean(values))

    def undefined(self) -> str:
        """Why no value could be measured although there were enough frames."""
        return "no frame could be measured"

    def compute(self) -> Series:
        """The series of all frames taken so far, over all processes.

        Raises:
            ValueError: processes measured pieces that are not what the whole video would give.
        """
        whole = self._joined(self._pieces())
        values, positions = whole.values.cpu().numpy(), whole.positions.cpu().numpy()
        ascending = np.argsort(positions, kind="stable")
        return self.summarise(values[ascending], positions[ascending], whole.frames)

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
        """Take frames and return the series so far: a video's values depend on their neighbours.

        As torchmetrics does, processes are gathered only with `dist_sync_on_step`.
        """
        self.update(*args, **kwargs)
        self._to_sync = self.dist_sync_on_step
        try:
            series: Series = self.compute()
        finally:
            self._to_sync, self._computed = self.sync_on_compute, None
        return series

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes, also where one has no frame yet."""
        if not self.values:
            self._hold(Piece.empty(self.device))
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
