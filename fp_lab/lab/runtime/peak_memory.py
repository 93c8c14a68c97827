"""Peak memory of tensors on a GPU."""

import torch


def reset_peak_memory() -> None:
    """Reset the peak of GPU memory, where there is a GPU."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, float]:
    """Return ``peak_memory_mib`` of tensors on the GPU since `reset_peak_memory`; nothing on a CPU.

    The peak of a process on a CPU, even after a reset, starts at the memory that earlier arms have left:
    equal arms would grow with their place in the grid. `fp_lab.lab.efficiency.measure` counts tensors
    instead.
    """
    if not torch.cuda.is_available():
        return {}
    return {"peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20}
