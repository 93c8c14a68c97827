"""What arms cost, in figures that are readable whatever the size of the arms."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fp_lab.lab.compare.arm_tables import cost_table
from fp_lab.lab.compare.comparison import compare_runs
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.efficiency import FILE, cost_key
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.tables import to_text
from fp_lab.recipe import parse
from made_up_scores import Figures, made_up_grid


@pytest.mark.parametrize(
    ("tflops", "shown"),
    [((0.00151, 0.000976), "0.00151"), ((50.31, 48.2), "50.3"), ((7210.0, 9000.0), "7,210")],
)
def test_operations_have_three_figures(tflops: tuple[float, float], shown: str) -> None:
    names = ("td_f2k1_g3", "g3")
    arms = tuple(Arm(name, parse(name), name, 0, (0,), ()) for name in names)
    efficiency = pd.DataFrame({"arm": names, "training_tflop": tflops})
    nothing = pd.DataFrame()
    gathered = Gathered(arms, nothing, nothing, {}, efficiency, nothing, {}, (), ())
    assert shown in to_text(cost_table(gathered))
    unknown = replace(gathered, efficiency=efficiency.drop(columns="training_tflop"))
    assert "–" in to_text(cost_table(unknown))


def test_times_recorded_during_runs_crown_nobody() -> None:
    """Two equal arms: one ran alone, the other beside other work, and was timed at six times as much."""
    names = ("td_f2k1_g3", "f1k1_x_g3_f1k1f2k1_td")
    arms = tuple(Arm(name, parse(name), name, 0, (0,), ()) for name in names)
    recorded = {
        "step_seconds": (0.224, 1.285),
        "tokens_per_second": (6000.0, 1046.0),
        "frames_per_second": (34.7, 6.0),
        "first_section_seconds": (0.37, 2.1),
        "threads": (1.0, 1.0),
        "machine_load": (0.9, 9.4),
    }
    nothing = pd.DataFrame()
    efficiency = pd.DataFrame({"arm": names, "training_tflop": (2.5, 2.5), **recorded})
    table = cost_table(Gathered(arms, nothing, nothing, {}, efficiency, nothing, {}, (), ()))
    assert not any(cell.best or cell.tie for line in table.lines for cell in line.cells)
    assert {"load", "threads"} <= {column.title for column in table.columns}
    assert "recorded during" in table.title


def test_a_report_shows_what_was_measured_in_turn_or_how_to(tmp_path: Path) -> None:
    arms = {"td_f8k8f4k4f2k2f1k1_g5": Figures(), "g5": Figures()}
    grid = made_up_grid(tmp_path / "grid", arms, videos=2)
    (note,) = [note for note in compare_runs([grid]).table("cost").notes if "--efficiency" in note]
    assert "fp-lab grid grid --efficiency" in note

    def arm(name: str, batch: int, seconds: float) -> dict[str, Any]:
        config = grid / name / "seed0" / "config.yaml"
        key = cost_key(config.read_text(encoding="utf-8")) if config.is_file() else "-"
        cost = {"largest_batch": batch, "seconds_per_1000": seconds, "peak_bytes": 2**20}
        return {"name": name, "key": key, **cost}

    made = [arm("td_f8k8f4k4f2k2f1k1_g5", 64, 48.0), arm("g5", 80, 40.0), arm("full_sequence", 16, 240.0)]
    about = {"machine": "a CPU", "threads": 2, "precision": "32-true", "batch": 4, "frames": 33}
    write_text(grid / FILE, json.dumps({"arms": made, **about, "memory_gb": 1, "rounds": 2, "load": 1.0}))
    table = compare_runs([grid]).table("efficiency")
    shown = {line.name: [cell.value for cell in line.cells] for line in table.lines}
    assert shown["td_f8k8f4k4f2k2f1k1_g5"] == [
        64,
        48.0,
        64 / 16,
        240 / 48,
        1.0,
    ]  # as reported: 4, 5
    assert not any(cell.best or cell.tie for line in table.lines for cell in line.cells)

    config = grid / "g5" / "seed0" / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("size: 16", "size: 32"), encoding="utf-8")
    cells = {line.name: line.cells for line in compare_runs([grid]).table("efficiency").lines}
    assert "--efficiency" in cells["g5"][0].reason
    assert math.isnan(cells["g5"][0].value)
