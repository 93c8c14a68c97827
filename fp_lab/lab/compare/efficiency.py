"""Measured batch and time efficiency of the arms of a comparison."""

import math
from pathlib import Path
from typing import Literal

from fp_lab.lab.files.run_folder import RunFolder
from fp_lab.lab.results.efficiency import (
    FULL_SEQUENCE,
    MeasuredEfficiency,
    load_measured,
    measuring_command,
    recorded_efficiency,
)
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.tables import Cell, Column, Line, Table


def grid_folder(gathered: Gathered) -> Path | None:
    """Folder of the grid whose arms are compared; None where there are several grids."""
    grids = {folder.parents[1] for arm in gathered.arms for folder in arm.folders}
    return grids.pop() if len(grids) == 1 else None


def measured_efficiency(gathered: Gathered) -> MeasuredEfficiency | None:
    """Measured efficiency of the arms' grid."""
    folder = grid_folder(gathered)
    return None if folder is None else load_measured(folder)


def efficiency_table(gathered: Gathered, measured: MeasuredEfficiency) -> Table:
    """Build the table of largest batch and time of each arm, and the ratios to the full sequence."""
    folder, about = grid_folder(gathered), measured.about
    assert folder is not None
    columns = (
        Column("largest_batch", "largest batch", f"in {about['memory_gb']:g} GiB", digits=0),
        Column("seconds_per_1000", "s per 1,000", "training samples", digits=1),
        Column("batch_to_full_sequence", "batch to sequence", "times that of full_sequence", digits=2),
        Column("time_to_full_sequence", "time to sequence", "times as fast as full_sequence", digits=2),
        Column("peak_mib", "peak MiB", "tensors of a step", digits=0),
    )
    other = f"not measured with these settings; `{measuring_command(folder)}` does it"
    lines = []
    for arm in gathered.arms:
        figures = recorded_efficiency(RunFolder(arm.folders[0]))
        cells = tuple(Cell(figures.get(c.key, math.nan), reason="" if figures else other) for c in columns)
        label = arm.label if arm.label != arm.name else ""
        kind: Literal["arm", "control"] = "control" if arm.control else "arm"
        lines.append(Line(arm.name, label, arm.recipe.order, cells, kind))
    whole = measured.of(FULL_SEQUENCE)
    lines.append(
        Line(FULL_SEQUENCE, "all frames at once", "", tuple(Cell(whole[c.key]) for c in columns), "control")
    )
    threads = f"{about['threads']} thread{'s' if about['threads'] > 1 else ''}"
    notes = (
        f"Measured apart from the runs, in one process, all arms in turn, there and back ({about['rounds']} "
        f"rounds, medians): {about['machine']}, {threads}, {about['precision']}, batch {about['batch']}. The "
        "largest batch is computed from the memory that a step keeps. No best is marked.",
        f"The load of the machine was {about['load']:.1f}: above the {threads} of this measurement, other "
        "work was in its way, and times are less certain.",
        f"A sample of the full sequence is a whole video of {about['frames']} latent frames, one of the "
        "others a section.",
    )
    return Table("efficiency", "Batch and time efficiency", columns, tuple(lines), notes)
