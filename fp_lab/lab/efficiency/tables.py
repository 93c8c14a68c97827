"""Tables of efficiency, and files: JSON, CSV, Markdown."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fp_lab.lab.efficiency.matmul import LARGE
from fp_lab.lab.efficiency.measure import ArmEfficiency, Efficiency
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.planning.plan import BRIEF_BATCH, BRIEF_HOURS
from fp_lab.lab.results.labels import short_labels
from fp_lab.lab.tables import Cell, Column, Line, Table, to_csv, to_markdown
from fp_lab.recipe import parse

_MIB = 2**20
_HEADS = ("arm", "order")
_Figures = Callable[[ArmEfficiency], tuple[float, ...]]


def efficiency_tables(measured: Efficiency) -> tuple[Table, ...]:
    """Build tables of training, memory, sampling, and ratios to full history and full sequence."""
    return (training_table(measured), memory_table(measured), sampling_table(measured), ratio_table(measured))


def training_table(measured: Efficiency) -> Table:
    """Build the table of training speed."""
    columns = (
        Column("step", "step", "ms", "lower", digits=0),
        Column("tokens", "tokens", "of a sample", digits=0),
        Column("rate", "tokens/s", better="higher", digits=0),
        Column("flops", "GFLOP/s", better="higher", digits=1),
        Column("own", "of own", "share of the rate of the blocks' own products", "higher", digits=2),
        Column("large", "of large", "share of the rate of a large product", "higher", digits=2),
    )

    def figures(arm: ArmEfficiency) -> tuple[float, ...]:
        rates = (arm.tokens_per_second, arm.flops_per_second / 1e9, arm.own_share, arm.large_share)
        return (1000 * arm.step_seconds, arm.tokens, *rates)

    notes = (
        f"Measured on {_machine(measured)}, {measured.batch} samples per step, {measured.rounds} rounds in "
        "turn; step in ms. Operations are computed: matrix products alone.",
        "Shares: of the machine's rate at the blocks' own matrices (of own), and at a product of "
        f"{LARGE} x {LARGE} x {LARGE} (of large): {measured.large_flops_per_second / 1e9:.1f} GFLOP/s.",
    )
    return _table("training", "Training", columns, measured, figures, notes)


def memory_table(measured: Efficiency) -> Table:
    """Build the table of training memory and largest batch."""
    columns = (
        Column("activations", "kept MiB", "activations per sample", "lower", digits=2),
        Column("peak", "peak MiB", "of a step", "lower", digits=0),
        Column("state", "state MiB", "weights, gradients, AdamW, averages", digits=1),
        Column("batch", "batch", f"largest in {measured.memory_gb:g} GiB", "higher", digits=0),
        Column("seconds", "s per 1,000", "samples", "lower", digits=1),
    )

    def figures(arm: ArmEfficiency) -> tuple[float, ...]:
        sizes = (arm.activation_bytes / _MIB, arm.peak_bytes / _MIB, arm.state_bytes / _MIB)
        return (*sizes, arm.largest_batch, arm.seconds_per_1000)

    notes = (
        "Measured: activations kept per sample and peak of tensors alive in a step, both at the fullest "
        "context; s per 1,000 samples.",
        f"Computed: the state, and the largest batch that fits beside it into {measured.memory_gb:g} GiB.",
    )
    return _table("memory", "Memory of training", columns, measured, figures, notes)


def sampling_table(measured: Efficiency) -> Table:
    """Build the table of sampling speed of one video."""
    columns = (
        Column("first", "first section", "ms", "lower", digits=0),
        Column("rate", "frames/s", better="higher", digits=1),
    )

    def figures(arm: ArmEfficiency) -> tuple[float, ...]:
        return (1000 * arm.first_section_seconds, arm.frames_per_second)

    notes = ("Measured on one video at once, latent frames, without decoding. First section in ms.",)
    return _table("sampling", "Sampling", columns, measured, figures, notes)


def ratio_table(measured: Efficiency) -> Table:
    """Build the table of batch and time ratios to the controls."""
    compared = [arm for arm in measured.arms if arm.compared]
    columns = [
        Column(
            f"{kind}.{other.name}", f"{kind} to {other.name.removeprefix('full_')}", other.name, "higher", 2
        )
        for other in compared
        for kind in ("batch", "time")
    ]
    labels = _labels(measured)
    lines = [
        Line(
            arm.name, labels[arm.name], arm.order, tuple(c for other in compared for c in _ratios(arm, other))
        )
        for arm in measured.arms
        if not arm.compared
    ]
    brief = (Cell(BRIEF_BATCH[1] / BRIEF_BATCH[0]), Cell(BRIEF_HOURS[0] / BRIEF_HOURS[1]))
    none = (Cell(math.nan), Cell(math.nan))
    said = tuple(c for other in compared for c in (brief if other.order == "none" else none))
    lines.append(Line("the paper's project, 13B at 480p", "", "", said, "floor"))
    notes = (
        "Batch: largest, computed. Time: of 1,000 samples, measured. To the full history, and to "
        f"full-sequence diffusion, whose sample is a whole video of {measured.frames} frames.",
        f"The paper's project: batch {BRIEF_BATCH[0]} to {BRIEF_BATCH[1]}, {BRIEF_HOURS[0]:.0f} h to "
        f"{BRIEF_HOURS[1]:.0f} h. For that size: fp-lab plan base.",
    )
    return Table("ratios", "What packing saves, times", tuple(columns), tuple(lines), notes, _HEADS)


def _ratios(arm: ArmEfficiency, other: ArmEfficiency) -> tuple[Cell, Cell]:
    batch = arm.largest_batch / other.largest_batch if other.largest_batch else math.nan
    reason = f"no sample of {other.name} fits the budget"
    return Cell(batch, reason=reason), Cell(other.seconds_per_1000 / arm.seconds_per_1000)


def _table(
    key: str,
    title: str,
    columns: tuple[Column, ...],
    measured: Efficiency,
    figures: _Figures,
    notes: tuple[str, ...],
) -> Table:
    labels = _labels(measured)
    lines = tuple(
        Line(
            arm.name,
            labels.get(arm.name, ""),
            arm.order,
            tuple(map(Cell, figures(arm))),
            "control" if arm.compared else "arm",
        )
        for arm in measured.arms
    )
    return Table(key, title, columns, lines, notes, _HEADS)


def _machine(measured: Efficiency) -> str:
    threads = f"{measured.threads} thread{'s' if measured.threads > 1 else ''}"
    return f"{measured.machine}, {threads}, {measured.precision}"


def write_efficiency(measured: Efficiency, folder: Path) -> None:
    """Write ``efficiency.json``, ``.csv`` and ``.md`` into a folder."""
    tables = efficiency_tables(measured)
    content: dict[str, Any] = asdict(measured)
    write_text(folder / "efficiency.json", json.dumps(content, indent=2) + "\n")
    write_text(folder / "efficiency.csv", to_csv(tables))
    write_text(folder / "efficiency.md", "\n".join(map(to_markdown, tables)))


def _labels(measured: Efficiency) -> dict[str, str]:
    """Short labels of the arms, without the controls."""
    return short_labels({arm.name: parse(arm.recipe) for arm in measured.arms if not arm.compared})
