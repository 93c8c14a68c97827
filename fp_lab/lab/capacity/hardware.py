"""Cards that a model is trained and sampled on."""

from dataclasses import dataclass

from fp_lab.lab.capacity.memory import GIB, USABLE


@dataclass(frozen=True)
class Hardware:
    """Cards of one kind.

    Attributes:
        cards: at most so many.
        memory_gb: of each, GiB.
        tflops: peak of each, in 10^12 dense bfloat16 operations per second; 312 is an A100's.
        utilisation: share of the peak that training reaches, in (0, 1].
    """

    cards: int = 8
    memory_gb: float = 80.0
    tflops: float = 312.0
    utilisation: float = 0.4

    def __post_init__(self) -> None:
        """Refuse what no card can be."""
        if self.cards < 1:
            raise ValueError(f"cards: got {self.cards}, expected at least 1")
        for name in ("memory_gb", "tflops"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected more than 0")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation: got {self.utilisation}, expected a share of the peak in (0, 1]")

    @property
    def usable(self) -> float:
        """Bytes of each card that are planned with."""
        return USABLE * self.memory_gb * GIB

    @property
    def speed(self) -> float:
        """Operations per second that each card reaches."""
        return self.tflops * 1e12 * self.utilisation

    @property
    def rate(self) -> str:
        """`speed` in words."""
        return f"{self.utilisation:.0%} of {self.tflops:g} TFLOP/s"
