"""What a run records of its cost while it runs: step time, tokens per second, memory of a GPU."""

import os
from collections.abc import Sequence
from statistics import fmean, median

import torch

from fp_lab.packing.schedule import context_tokens, kernel_tokens
from fp_lab.recipe import BASE, Recipe
from fp_lab.recipe.orders import Fill, plan


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


def tokens_per_sample(recipe: Recipe, fill: Fill | None, frames: int, rows: int, columns: int) -> float:
    """Mean tokens of a section with its context, over the sections of a video.

    Args:
        recipe: levels and order.
        fill: of the endpoint order's gap, see `plan`.
        frames: length of the video, latent frames.
        rows: of the latents.
        columns: of the latents.
    """
    return fmean(
        kernel_tokens(len(section.targets), BASE, rows, columns)
        + context_tokens(recipe, section, frames, rows, columns).total
        for section in plan(recipe, frames, fill=fill)
    )


def training_efficiency(seconds: Sequence[float], tokens_per_step: float) -> dict[str, float]:
    """Figures of a training from the wall time of its steps (the first ones, which warm up, left out).

    With them the circumstances: threads of torch, and how many processes wanted a core in the last minute.
    """
    settled = seconds[min(3, len(seconds) // 2) :]
    typical = median(settled)
    return {
        "step_seconds": typical,
        "tokens_per_second": tokens_per_step / typical,
        "threads": float(torch.get_num_threads()),
        "machine_load": os.getloadavg()[0],
        **peak_memory(),
    }
