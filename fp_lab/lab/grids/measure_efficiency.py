"""Measurement of the efficiency of a grid's arms, once per settings, stored in the grid's folder."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from fp_lab.lab.config import ExperimentConfig, to_yaml
from fp_lab.lab.efficiency.measure import measure
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.grids.efficiency_arms import sides_of_grid
from fp_lab.lab.grids.grid import Grid
from fp_lab.lab.materials.models import codec_of
from fp_lab.lab.results.efficiency import FILE, cost_key, load_measured
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.scoring.files import plain

ROUNDS = 2
"""Number of rounds: there and back."""
_ON_A_CPU = 4  # samples per step, which keep its cores busy: time for 1,000 samples is that of larger batches


def efficiency_of(grid: Grid, folder: Path) -> dict[str, dict[str, float]]:
    """Measure unmeasured arms; return measurements of every arm by folder name, else nothing.

    Args:
        grid: grid with the arms.
        folder: folder of the grid; measurements there with the same settings are reused.

    Raises:
        ValueError: the arms' steps cannot be compared, or an arm is not over the lab's own backbone.
    """
    sides = sides_of_grid(grid)
    keys = {side.name: cost_key(to_yaml(side.config)) for side in sides}
    measured = load_measured(folder)
    if measured is not None and all(measured.is_of(*known) for known in keys.items()):
        return {}
    small = [replace(side, config=_small(side.config)) for side in sides]
    codec = codec_of(sides[0].config.codec)
    made = measure(small, codec, rounds=ROUNDS, steps_alone=True)
    made = replace(made, arms=tuple(replace(arm, key=keys[arm.name]) for arm in made.arms))
    write_text(folder / FILE, json.dumps(plain(asdict(made)), indent=2) + "\n")
    measured = load_measured(folder)
    assert measured is not None
    return {side.name: measured.of(side.name) for side in sides if not side.compared}


def _small(config: ExperimentConfig) -> ExperimentConfig:
    if device_of(config).type != "cpu":
        return config
    return replace(config, training=replace(config.training, batch=min(config.training.batch, _ON_A_CPU)))
