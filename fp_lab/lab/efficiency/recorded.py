"""What a run costs: step time, tokens per second, peak memory."""

import re
import resource
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

import torch

from fp_lab.orders import Fill, plan
from fp_lab.packing.schedule import context_tokens, kernel_tokens
from fp_lab.recipe import BASE, Recipe

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak_memory() -> None:
    """Begin to watch: later peaks count from here, where the system allows it (Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    if _CLEAR_REFS.exists():
        try:
            _CLEAR_REFS.write_text("5")
        except OSError:  # a container may forbid it: then the peak is the process's
            return


def peak_memory_mib() -> float:
    """Peak memory in MiB since `reset_peak_memory`: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    if _STATUS.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
        if found:
            return int(found[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


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
    """Figures of a training from the wall time of its steps (the first ones, which warm up, left out)."""
    settled = seconds[min(3, len(seconds) // 2) :]
    typical = median(settled)
    return {
        "step_seconds": typical,
        "tokens_per_second": tokens_per_step / typical,
        "peak_memory_mib": peak_memory_mib(),
    }
