"""What runs cost: the figures that every run records; `fp-lab efficiency` measures in the modules beside."""

from fp_lab.lab.efficiency.recorded import (
    peak_memory,
    reset_peak_memory,
    tokens_per_sample,
    training_efficiency,
)

__all__ = ["peak_memory", "reset_peak_memory", "tokens_per_sample", "training_efficiency"]
