"""Two sets of scored videos against each other, paired by file name, else by prompt."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fp_lab.lab.results import Results, refuse_other_protocol
from fp_lab.lab.scored_file import Measuring
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_metrics import paired_interval, protocol

Pair = tuple[str, str]


def refuse_before_scoring(measuring: Measuring, theirs: Results) -> None:
    """Say that a comparison will be impossible before hours of work.

    Raises:
        ValueError: for different protocols.
    """
    described = protocol(measuring.families, measuring.metrics)
    refuse_other_protocol(Results(measuring.key, described, {}, {}, {}), theirs)


def compare_folders(ours: Results, theirs: Results) -> Table:
    """Paired differences, ours less theirs, one line per estimator.

    Raises:
        ValueError: for different protocols, or no pair.
    """
    refuse_other_protocol(ours, theirs)
    pairs = _pairs(ours.files, theirs.files)
    if not pairs:
        raise ValueError(
            "no video of the one has the name or the prompt of a video of the other: nothing can be paired"
        )
    prompts = [ours.files[first]["prompt"] or first for first, _ in pairs]
    lines = []
    for name, described in ours.protocol["estimators"].items():
        cells = []
        for figure in ("value", "drift", "size"):
            first, second = (
                np.array([_figure(results, pair[side], name, figure) for pair in pairs])
                for side, results in enumerate((ours, theirs))
            )
            found = paired_interval(first, second, prompts)
            undefined = "no pair is defined on both sides" if math.isnan(found.mean) else ""
            cells.append(Cell(found.mean, found.low, found.high, reason=undefined))
        arrow = {True: " ↑", False: " ↓", None: ""}[described["higher_is_better"]]
        lines.append(Line(name, "", described["score"] + arrow, tuple(cells)))
    shown = (
        Column("value", "score"),
        Column("drift", "drift d"),
        Column("size", "drift |d|", better="lower"),
    )
    note = (
        "± is half of a 95 % interval (BCa bootstrap over prompts); 0 outside of it: the difference is real."
    )
    title = f"Difference to the other results, {len(pairs)} pairs"
    return Table("against", title, shown, tuple(lines), (note,), ("estimator", "score"))


def _figure(results: Results, file: str, estimator: str, figure: str) -> float:
    if figure == "size":
        return abs(results.value(file, estimator, "drift"))
    return results.value(file, estimator, figure)


def _pairs(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[Pair]:
    """By file name; where names have nothing in common, by prompts that are unique on both sides."""
    by_name = [(name, name) for name in ours if name in theirs]
    if by_name:
        return by_name
    known = [
        {facts["prompt"]: name for name, facts in side.items() if facts["prompt"]} for side in (ours, theirs)
    ]
    return [(first, known[1][prompt]) for prompt, first in known[0].items() if prompt in known[1]]
