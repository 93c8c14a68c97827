"""Peak memory of tensors on a GPU."""

import torch


def reset_peak_memory() -> None:
    """Begin to watch the memory of the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> dict[str, float]:
    """``peak_memory_mib`` of tensors on the GPU since `reset_peak_memory`; nothing on a CPU.

    The peak of a process on a CPU, even one that is reset, begins at what earlier arms have left in it: equal
    arms would grow with their place in the grid. `fp_lab.lab.efficiency.measure` counts tensors instead.
    """
    if not torch.cuda.is_available():
        return {}
    return {"peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20}
