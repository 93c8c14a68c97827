"""Paired comparison of two sets of scored videos, see `pair_videos`."""

import math
from collections.abc import Iterator

import pandas as pd

from fp_lab.lab.compare.contrasts import Contrast, adjust, contrasts
from fp_lab.lab.compare.paired_values import Panels, Statistic
from fp_lab.lab.evaluate.pairs import Pairs, pair_videos
from fp_lab.lab.evaluate.results import Results, refuse_other_protocol
from fp_lab.lab.evaluate.score_file import Measuring
from fp_lab.lab.evaluate.tables import FIGURES
from fp_lab.lab.tables import Cell, Column, Line, Table
from fp_lab.lab.tables.glossary import ARROWS, score_title
from fp_metrics import protocol
from fp_metrics.intervals import LEAST_CLUSTERS


def refuse_before_scoring(measuring: Measuring, theirs: Results) -> None:
    """Check, before hours of work, that a comparison will be possible.

    Raises:
        ValueError: the protocols differ.
    """
    refuse_other_protocol(protocol(measuring.families, measuring.metrics), theirs.protocol)


def compare_folders(ours: Results, theirs: Results) -> Table:
    """Build a table of paired differences, ours minus theirs, one row per estimator, tested as arms are.

    Raises:
        ValueError: the protocols differ, or there is no pair.
    """
    refuse_other_protocol(ours.protocol, theirs.protocol)
    pairs = pair_videos(ours.files, theirs.files)
    if not pairs.names:
        raise ValueError(f"nothing can be paired by name or prompt; {pairs.in_words}")
    described, panels = ours.protocol["estimators"], _panels(ours, theirs, pairs)
    made = {
        (name, figure): contrast
        for name in described
        for figure in FIGURES
        for contrast in contrasts(panels.panel(name, figure), [(_OURS, _THEIRS)], figure)
    }
    tested = [
        key
        for key, contrast in made.items()
        if key[1] != "drift"  # neither direction of it is better
        and (key[1] == "drift_size" or described[key[0]]["higher_is_better"] is not None)
        and contrast.difference.reliable
    ]
    made |= dict(zip(tested, adjust([made[key] for key in tested]), strict=True))
    lines = []
    for name, told in described.items():
        cells = [cell for figure in FIGURES for cell in _cells(made[name, figure], figure, len(tested))]
        arrow = ARROWS[told["higher_is_better"]]
        lines.append(Line(name, "", score_title(told["score"]) + arrow, tuple(cells)))
    title = f"Difference to the other results, {len(pairs.names)} pairs"
    notes = (*_notes(pairs, len(tested)), *_on_frozen(ours, theirs))
    return Table("against", title, _COLUMNS, tuple(lines), notes, ("estimator", "score"))


def _on_frozen(ours: Results, theirs: Results) -> Iterator[str]:
    for side, results in ((_OURS, ours), (_THEIRS, theirs)):
        for told in filter(None, map(results.frozen, results.groups)):
            yield f"{side.capitalize()}, {told}: what does not move does not drift."


_OURS, _THEIRS = "these", "the others"
_COLUMNS = (
    Column("value", "score"),
    Column("value_p", "p (Holm)"),
    Column("value_detectable", "detectable"),
    Column("size", "drift |d|", better="lower"),
    Column("size_p", "p (Holm)"),
    Column("size_detectable", "detectable"),
    Column("drift", "drift d"),
)


def _panels(ours: Results, theirs: Results, pairs: Pairs) -> Panels:
    """Lay out the paired videos of both sides as those of two arms with one training each."""
    sides = []
    for side, (arm, results) in enumerate(((_OURS, ours), (_THEIRS, theirs))):
        number = {names[side]: index for index, names in enumerate(pairs.names)}
        rows = results.videos[results.videos["file"].isin(list(number))]
        seeds = rows["file"].map(number)
        prompts = seeds.map(dict(enumerate(pairs.prompts)))
        sides.append(rows.assign(arm=arm, training_seed=0, seed=seeds, prompt=prompts).sort_values("seed"))
    return Panels(pd.concat(sides, ignore_index=True))


def _cells(contrast: Contrast, figure: Statistic, tests: int) -> list[Cell]:
    """Cells of a difference; where tested, also of its p-value and the detectable difference."""
    found, count = contrast.difference, contrast.difference.clusters
    undefined = "no pair is defined on both sides" if math.isnan(found.mean) else ""
    cells = [Cell(found.mean, found.low, found.high, reason=undefined, p=contrast.adjusted)]
    if figure == "drift":
        return cells
    few = f"too few pairs: {count} of the {LEAST_CLUSTERS} prompts that a test needs"
    why = few if count < LEAST_CLUSTERS else "neither direction is better"
    return [*cells, Cell(contrast.adjusted, reason=why), Cell(contrast.detectable(max(1, tests)), reason=few)]


def _notes(pairs: Pairs, tests: int) -> tuple[str, ...]:
    few = len(set(pairs.prompts)) < LEAST_CLUSTERS
    doubt = "; with so few prompts it is unreliable, and nothing is tested" if few else ""
    return (
        f"{pairs.in_words} ± is half of a 95 % interval (BCa bootstrap over prompts){doubt}.",
        "p: paired sign-flip permutation test over prompts, Holm over the "
        f"{tests} differences of this table. Detectable: the smallest true difference that so many prompts "
        "would find in four of five cases; what lies below it was not shown to be absent.",
    )
