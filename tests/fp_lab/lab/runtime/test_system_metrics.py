import time
from collections.abc import Mapping

import psutil
import pytest

from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.runtime.system_metrics import usage, watching


class Notes(Reporter):
    def __init__(self) -> None:
        self.heard: list[dict[str, float]] = []

    def machine(self, figures: Mapping[str, float]) -> None:
        self.heard.append(dict(figures))


def test_a_busy_process_is_seen() -> None:
    usage()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    seen = usage()
    assert seen["cpu_utilization_percentage"] > 0
    memory = psutil.virtual_memory()
    assert 0 < seen["process_memory_usage_megabytes"] < seen["system_memory_usage_megabytes"]
    assert seen["system_memory_usage_megabytes"] < memory.total / 1e6
    assert seen["system_memory_usage_percentage"] == pytest.approx(memory.percent, abs=20)


def test_a_reporter_hears_now_and_then_and_no_more_when_it_is_over() -> None:
    notes = Notes()
    with watching(notes, every=0.02):
        until = time.monotonic() + 30
        while len(notes.heard) < 3 and time.monotonic() < until:
            time.sleep(0.01)
    heard = len(notes.heard)
    assert heard >= 3
    time.sleep(0.1)
    assert len(notes.heard) == heard
