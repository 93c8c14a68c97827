"""How ranks that train together share a batch."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """A rank's part of every batch: all parts are equal, and no sample is in two.

    Attributes:
        size: Of a batch, over all ranks.
        rank: Whose part it is.
        ranks: How many share a batch.

    Raises:
        ValueError: A batch that cannot be shared equally, or a rank that does not exist.
    """

    size: int
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be shared."""
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"got rank {self.rank} of {self.ranks}, expected one from 0 to {self.ranks - 1}")
        if self.size < 1 or self.size % self.ranks:
            raise ValueError(
                f"batch size must be a multiple of the {self.ranks} ranks that share it, got {self.size}"
            )

    def of(self, batch: np.ndarray) -> np.ndarray:
        """The part of a whole batch ``size …``."""
        return np.split(batch, self.ranks)[self.rank]
