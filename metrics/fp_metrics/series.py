"""What an estimator returns: one value per frame, pair or triple, and their aggregate."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Series:
    """One score along one video.

    Attributes:
        values: float64 ``(m,)``; NaN where a single value is undefined.
        positions: int64 ``(m,)``, the frame each value belongs to, ascending. A value that looks at `span`
            consecutive frames belongs to the middle one (of a pair: to the later one).
        score: the aggregate (usually the mean of the finite values); NaN when undefined.
        unit: unit or range of values and score, in words.
        span: consecutive frames that one value looks at.
        reason: why the score is undefined; None when it is defined.
    """

    values: NDArray[np.float64]
    positions: NDArray[np.int64]
    score: float
    unit: str
    span: int = 1
    reason: str | None = None

    def __post_init__(self) -> None:
        """Hold values and reason together: NaN never comes without a reason."""
        if self.values.shape != self.positions.shape or self.values.ndim != 1:
            raise ValueError(
                f"values and positions must be 1-d and of one length, got {self.values.shape} "
                f"and {self.positions.shape}"
            )
        if np.isnan(self.score) != (self.reason is not None):
            raise ValueError(
                f"a score is NaN exactly when it has a reason, got {self.score} and {self.reason!r}"
            )

    @classmethod
    def undefined(cls, unit: str, reason: str) -> "Series":
        """A series without a value."""
        return cls(np.zeros(0), np.zeros(0, dtype=np.int64), float("nan"), unit, reason=reason)

    @property
    def coverage(self) -> float:
        """Share of values that are defined, in [0, 1]; NaN when there are none."""
        return float(np.isfinite(self.values).mean()) if len(self.values) else float("nan")

    def inside(self, frames: Collection[int]) -> NDArray[np.bool_]:
        """Bool ``(m,)``: which values look only at the given frames.

        Those are the values which an estimator would get from these frames alone.
        """
        first = self.positions - self.span // 2
        chosen = np.array(sorted(frames), dtype=np.int64)
        kept = np.ones(len(first), dtype=np.bool_)
        for step in range(self.span):
            kept &= np.isin(first + step, chosen)
        return kept
