"""Timings of this machine, stored in the cache folder for later commands."""

import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fp_carriers import cache_folder
from fp_data.damaged import parse_json
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.files.run_folder import digest
from fp_lab.lab.runtime.environment import environment
from fp_lab.lab.runtime.process_pool import available_cores

REMEMBERED = "timings.json"
"""Name of the file in the cache folder; without it everything is timed again."""
_MOST = 1000  # entries; beyond, the oldest are forgotten


def remembered(what: str, settings: Mapping[str, Any], measure: Callable[[], float]) -> float:
    """Return a timing of this machine, measured unless stored.

    A damaged file counts as none, and one that cannot be written is skipped. What is measured while more
    processes want to run than there are cores is not stored.

    Args:
        what: name of the timing.
        settings: settings that the timing depends on, beside processor, cores, threads and versions.
        measure: function that measures it; returns a finite number above 0.
    """
    made_of = {"what": what, "settings": settings, "machine": environment()}
    key = digest(made_of)
    if (known := _load().get(key)) is not None:
        return known
    measured = measure()
    if os.getloadavg()[0] > available_cores():
        return measured  # of a machine that was busy: true now, misleading later
    kept = dict([*_load().items(), (key, measured)][-_MOST:])  # others may have written meanwhile
    with suppress(OSError):
        write_text(cache_folder() / REMEMBERED, json.dumps(kept, indent=0) + "\n")
    return measured


def _load() -> dict[str, float]:
    with suppress(OSError, ValueError):
        found = parse_json((cache_folder() / REMEMBERED).read_bytes())
        if isinstance(found, dict):
            return {key: seconds for key, seconds in found.items() if _is_timing(seconds)}
    return {}


def _is_timing(seconds: object) -> bool:
    return type(seconds) in (int, float) and 0 < seconds < math.inf  # type: ignore[operator]
