"""System metrics while an arm runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from fp_lab.lab.runtime.reporter import Reporter

EVERY = 10.0
"""Seconds between two measurements."""


@contextmanager
def watching(reporter: Reporter, every: float = EVERY) -> Iterator[None]:
    """Report load and memory at intervals while the body runs."""
    over = threading.Event()
    psutil.cpu_percent()

    def watch() -> None:
        while not over.wait(every):
            reporter.machine(usage())

    thread = threading.Thread(target=watch, name="fp_lab machine", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def usage() -> dict[str, float]:
    """Measure CPU load since the last call, memory of the machine and of this process, and GPUs.

    Keys are MLflow's names of system metrics; per cent and MB.
    """
    memory, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    figures = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / 1e6,
        "system_memory_usage_percentage": memory.percent,
        "process_memory_usage_megabytes": own / 1e6,
    }
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        figures[f"gpu_{index}_memory_usage_megabytes"] = (total - free) / 1e6
        figures[f"gpu_{index}_memory_usage_percentage"] = 100 * (total - free) / total
        figures[f"gpu_{index}_utilization_percentage"] = float(torch.cuda.utilization(index))
    return figures
