"""Measured batch and time efficiency of a grid, stored in its folder (no torch)."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fp_data.damaged import DamagedFile, naming_damage
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_config import parse_settings
from fp_lab.lab.files.run_folder import RunFolder, digest

FULL_SEQUENCE = "full_sequence"
FILE = Path("efficiency", "efficiency.json")
"""Path of the results in a grid's folder."""
_BESIDE_COSTS = ("seed", "label", "protocol", "track")
"""Settings that do not change an arm's costs."""


@dataclass(frozen=True)
class MeasuredEfficiency:
    """Measured efficiency of the arms of a grid.

    Attributes:
        figures: name of an arm or of a control -> measurements, see `ArmEfficiency`.
        about: machine, threads, precision, batch, frames, memory_gb, rounds.
    """

    figures: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]

    def is_of(self, arm: str, key: str) -> bool:
        """Return whether an arm was measured with settings of this `cost_key`."""
        return arm in self.figures and self.figures[arm]["key"] == key

    def of(self, arm: str) -> dict[str, float]:
        """Return an arm's largest batch, seconds for 1,000 samples, and both against the full sequence.

        A ratio above 1 is in the arm's favour; NaN where nothing fits the budget.
        """
        own, whole = self.figures[arm], self.figures[FULL_SEQUENCE]
        batch, seconds = own["largest_batch"], own["seconds_per_1000"]
        other = whole["largest_batch"]
        return {
            "largest_batch": batch,
            "seconds_per_1000": seconds,
            "batch_to_full_sequence": batch / other if other else math.nan,
            "time_to_full_sequence": whole["seconds_per_1000"] / seconds,
            "peak_mib": own["peak_bytes"] / 2**20,
        }


def cost_key(config: str) -> str:
    """Return a key of the settings that an arm's costs depend on.

    Args:
        config: settings of the arm, as YAML.
    """
    return digest({name: part for name, part in parse_settings(config).items() if name not in _BESIDE_COSTS})


def load_measured(grid: Path) -> MeasuredEfficiency | None:
    """Load the measured efficiency of a grid; None where there is none.

    Args:
        grid: folder of the grid.
    """
    path = grid / FILE
    with suppress(DamagedFile), naming_damage(path):  # of another version: measured anew
        content = read_json(path)
        figures = {arm["name"]: arm for arm in content.pop("arms")}
        measured = MeasuredEfficiency(figures, content)
        for name in figures:
            measured.of(name)
        return measured
    return None


def recorded_efficiency(run: RunFolder) -> dict[str, float]:
    """Load the measured efficiency of a run's arm with the run's settings; empty where there is none."""
    arm, measured = run.path.parent.name, load_measured(run.path.parents[1])
    if measured is None or not run.config.is_file():
        return {}
    with naming_damage(run.config):
        key = cost_key(run.config.read_text(encoding="utf-8"))
    return measured.of(arm) if measured.is_of(arm, key) else {}


def measuring_command(grid: Path) -> str:
    """Return the command that measures a grid: the one that made it, with ``--efficiency``.

    Args:
        grid: folder of the grid.
    """
    note = grid / "command.txt"
    made = note.read_text(encoding="utf-8", errors="replace").strip() if note.is_file() else ""
    return f"{made if made.startswith('fp-lab grid ') else f'fp-lab grid {grid.name}'} --efficiency"
