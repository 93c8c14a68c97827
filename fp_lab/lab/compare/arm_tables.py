"""Tables of arms: drift, scores and exposure bias of a family, cost, codebooks."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fp_lab.lab.compare.paired_values import Panel, Panels, Statistic
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.results.resampling_units import ResamplingUnits
from fp_lab.lab.results.run_index import Measure
from fp_lab.lab.results.setting_differences import shortened
from fp_lab.lab.scoring.files import NOISE_FLOOR
from fp_lab.lab.tables import STARS, Cell, Column, Line, Table, number
from fp_lab.lab.tables.glossary import family_title, score_meanings, score_title
from fp_metrics.intervals import LEAST_CLUSTERS, LEAST_SEEDS, holm
from fp_metrics.significance import least_p

_DRIFT_NOTE = (
    "Mean |d| over videos, d = score of the last 15 % less that of the first 15 %; in brackets the signed "
    "mean of d with half of its 95 % interval's width. Mean |d| is biased upward by noise: compare it with "
    "the ground truth's. "
    "What is wrong from the first section on does not drift: read the scores and the drift against the given "
    "frame beside it."
)
_GIVEN_NOTE = (
    "Mean |d| over videos, d = score of the last 15 % less that of the given frame as the video shows it; in "
    "brackets the signed mean of d with half of its 95 % interval's width. What falls inside the first 15 %, "
    "as in inverted orders, counts here and not in the paper's drift. Scores that look at several frames at "
    "once have no value at one given frame; a likeness to the first frame is read over the whole video. One "
    "frame is noisier than 15 %: compare it with the ground truth's."
)
_RANK_NOTE = (
    "Bold: best of its column; =: not significantly different from it (95 % interval of the paired "
    "difference covers 0). "
    "A control without history takes no part in the ranking, nor does an arm most of whose videos are "
    "frozen: what stands still does not drift."
)
_GAP_NOTE = (
    "Score from true history (teacher forcing) less score from generated history (rollout), section by "
    "section; best is closest to 0."
)
_NOT_MEASURED = Cell(math.nan, reason="not measured")


@dataclass(frozen=True, eq=False)
class TableInputs:
    """Data behind the tables.

    Attributes:
        gathered: scores of the arms.
        panels: panels of the arms' rows from own history.
        floor: panels of the ground truth's rows; None without any.
        reference: arm that stars refer to.
    """

    gathered: Gathered
    panels: Panels
    floor: Panels | None
    reference: str

    @classmethod
    def of(cls, gathered: Gathered, reference: str) -> "TableInputs":
        """Lay out the rows of gathered scores."""
        truth = gathered.floor_videos[gathered.floor_videos["history"] == NOISE_FLOOR]
        floor = Panels(truth.reset_index(drop=True)) if len(truth) else None
        return cls(gathered, Panels(gathered.videos), floor, reference)

    def intervals(self, estimator: str, figure: Statistic) -> dict[str, Cell]:
        """Make a cell with its interval per arm, and for the ground truth."""
        known = [panels for panels in (self.panels, self.floor) if panels is not None and estimator in panels]
        return {arm: cell for panels in known for arm, cell in mean_cells(panels, estimator, figure).items()}


def mean_cells(panels: Panels, estimator: str, figure: Statistic) -> dict[str, Cell]:
    """Make a cell with the mean of a statistic and its interval per arm."""
    reasons = panels.reasons(estimator, figure)
    return {
        arm: Cell(
            mean.mean, mean.low, mean.high, reason=reasons.get(arm, "") if math.isnan(mean.mean) else ""
        )
        for arm, mean in panels.panel(estimator, figure).intervals.items()
    }


@dataclass(frozen=True, eq=False)
class _Ranked:
    """A column of a metric, with its cells and the values behind them.

    Attributes:
        few: arms with an unreliable interval.
        apart: arms that share no video with the others.
    """

    column: Column
    cells: dict[str, Cell]
    panel: Panel
    few: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()


def drift_table(inputs: TableInputs, family: str) -> Table:
    """Build the table of drift sizes (the paper's drift) of each score of a family, with signed means."""
    key, title = f"drift-{family}", _title(family, "Drift")
    return _drift_table(inputs, family, key, title, "drift_size", "drift", _DRIFT_NOTE)


def drift_given_table(inputs: TableInputs, family: str) -> Table:
    """Build the table of drift against the given frame instead of the first 15 %."""
    key, title = f"drift-given-{family}", _title(family, "Drift against the given frame")
    return _drift_table(inputs, family, key, title, "drift_given_size", "drift_given", _GIVEN_NOTE)


def _drift_table(
    inputs: TableInputs, family: str, key: str, title: str, size: Statistic, signed: Statistic, note: str
) -> Table:
    estimators = inputs.gathered.estimators(family)
    made = []
    for score, estimator in estimators.items():
        column = _ranked(inputs, Column(score, score_title(score), estimator, "lower"), estimator, size)
        digits = column.column.digits
        for arm, cell in inputs.intervals(estimator, signed).items():
            half = (cell.high - cell.low) / 2
            width = f" ±{number(half, digits)}" if math.isfinite(half) else ""
            if math.isfinite(cell.value):
                extra = f"({number(cell.value, digits)}{width})"
                column.cells[arm] = replace(column.cells[arm], extra=extra)
        made.append(column)
    notes = (
        note,
        score_meanings(estimators),
        _RANK_NOTE,
        *accuracy_notes(estimators.values(), inputs.gathered.measures),
    )
    return _table(inputs, key, title, made, notes)


def score_table(inputs: TableInputs, family: str) -> Table:
    """Build the table of means of each score of a family."""
    estimators, measures = inputs.gathered.estimators(family), inputs.gathered.measures
    directions: dict[bool | None, Literal["higher", "lower"] | None]
    directions = {True: "higher", False: "lower", None: None}
    made = []
    for score, estimator in estimators.items():
        told = measures[estimator]
        column = Column(
            score, score_title(score), f"{estimator}, {told.unit}", directions[told.higher_is_better]
        )
        made.append(_ranked(inputs, column, estimator, "value"))
    notes = (
        "Mean over videos, generated history (rollout), with the half-width of its 95 % interval.",
        score_meanings(estimators),
        _RANK_NOTE,
        *accuracy_notes(estimators.values(), measures),
    )
    return _table(inputs, f"score-{family}", _title(family, "Scores"), made, notes)


def gap_table(inputs: TableInputs, family: str) -> Table:
    """Build the table of exposure-bias gaps of each score of a family; the ground truth has none."""
    inputs = replace(inputs, floor=None)
    made = [
        _ranked(inputs, Column(score, score_title(score), estimator, "lower"), estimator, "exposure_gap")
        for score, estimator in inputs.gathered.estimators(family).items()
    ]
    notes = (_GAP_NOTE, score_meanings(inputs.gathered.estimators(family)), _RANK_NOTE)
    return _table(inputs, f"gap-{family}", _title(family, "Exposure bias"), made, notes)


def cost_table(gathered: Gathered, further: Sequence[str] = ()) -> Table:
    """Build the table of each arm's context and recorded cost.

    Args:
        gathered: scores of the arms.
        further: additional notes.
    """
    means = gathered.efficiency.groupby("arm").mean(numeric_only=True)
    tflop = means.get("training_tflop", pd.Series(dtype=float)).max()
    decimals = max(0, 2 - math.floor(math.log10(tflop))) if tflop > 0 else 1  # tiny arms have few
    columns: tuple[Column, ...] = (
        Column("context_tokens", "context tokens", "at most, per section", None, 0),
        Column("training_tflop", "training TFLOP", "matrix products, computed", "lower", decimals),
        Column("step_seconds", "step time", "s, median of training", None, 3),
        Column("tokens_per_second", "tokens/s", "training", None, 0),
        Column("frames_per_second", "frames/s", "sampling", None, 1),
        Column("first_section_seconds", "first section", "s", None, 2),
        Column("threads", "threads", "of torch", None, 0),
        Column("machine_load", "load", "processes that wanted a core", None, 1),
    )
    if "peak_memory_mib" in means:
        columns += (Column("peak_memory_mib", "peak MiB", "of the GPU", None, 0),)
    faults = gathered.faults.get("cost", {})
    lines = _figures(gathered.arms, columns, lambda arm, key: _cost(means, arm, key), faults)
    notes = (
        "Times and rates were recorded during each run, once, one arm after the other or several at once, "
        "beside whatever else the machine did: they hold for the load they were taken at, and no best is "
        "marked.",
        "Memory on a CPU is left out: a process keeps what earlier arms have left, so it grows with the "
        "order of the runs.",
        *further,
    )
    return Table("cost", "Context and cost, as recorded during the runs", columns, lines, notes)


def codebook_table(gathered: Gathered) -> Table:
    """Build the table of usage and error of the codebooks of discrete histories."""
    columns = (
        Column("size", "centroids", "K", None, 0),
        Column("used", "used", "centroids, of training", None, 0),
        Column("perplexity", "perplexity", "exp of the entropy", None, 1),
        Column("relative_error", "relative error", "of the pixels' variance", "lower", 3),
    )
    means = gathered.codebooks.groupby("arm").mean(numeric_only=True)
    arms = [arm for arm in gathered.arms if arm.name in means.index]
    faults = gathered.faults.get("codebooks", {})
    lines = _figures(arms, columns, lambda arm, key: _mean(means, arm, key), faults)
    notes = ("Of the latent pixels of the training videos, which the codebook was fitted to.",)
    return Table("codebook", "Codebooks of discrete histories", columns, lines, notes)


def accuracy_notes(estimators: Iterable[str], measures: Mapping[str, Measure]) -> Iterator[str]:
    """List the accuracy of estimators that were measured against a truth."""
    for name in estimators:
        if told := measures[name].accuracy:
            yield f"{name}: {told}."


def _title(family: str, what: str) -> str:
    return f"{what}, {family_title(family)}"


def _ranked(inputs: TableInputs, column: Column, estimator: str, figure: Statistic) -> _Ranked:
    """Make a column with a cell per arm and for the ground truth; the best arm and its ties are marked."""
    cells = inputs.intervals(estimator, figure)
    panel = inputs.panels.panel(estimator, figure)
    column = replace(column, digits=_digits(panel.values))
    defined = {name: found for name, found in panel.intervals.items() if math.isfinite(found.mean)}
    few = tuple(name for name, found in defined.items() if not found.reliable)
    names = [arm.name for arm in inputs.gathered.ranked if arm.name in defined and defined[arm.name].reliable]
    sized = panel.magnitudes if figure == "exposure_gap" else panel
    ranked = _with_common_videos(sized, names)
    apart = tuple(name for name in names if name not in ranked)
    if column.better is None or len(ranked) < 2:
        return _Ranked(column, cells, panel, few, apart)
    choose = max if column.better == "higher" else min
    best = choose(
        ranked, key=lambda name: abs(cells[name].value) if sized is not panel else cells[name].value
    )
    differences = sized.differences(sized.of(ranked), sized.of([best] * len(ranked))).intervals()
    for name, difference in zip(ranked, differences, strict=True):
        tie = name != best and difference.reliable and not difference.excludes(0.0)
        cells[name] = replace(cells[name], best=name == best, tie=tie)
    return _Ranked(column, cells, panel, few, apart)


def _with_common_videos(panel: Panel, arms: Sequence[str]) -> list[str]:
    """Return the largest group of arms that share a video with one of them; others cannot be ranked."""
    known = np.any(np.isfinite(panel.of(arms)), axis=1).astype(np.float64)
    paired = known @ known.T > 0
    first = paired[paired.sum(1).argmax()] if len(arms) else []
    return [arm for arm, together in zip(arms, first, strict=True) if together]


def _table(inputs: TableInputs, key: str, title: str, made: Sequence[_Ranked], notes: Sequence[str]) -> Table:
    basis = inputs.panels.basis
    note = (f"Intervals and tests of all arms are {basis.draws}.", *_unmarked(made, basis))
    note += (*_star(made, inputs.reference, basis), *_unpaired(made, inputs.reference))
    note += (inputs.gathered.differing,) if inputs.gathered.differing else ()
    arms = inputs.gathered.arms
    flags = {name: str(frozen) for name, frozen in inputs.gathered.frozen.items()}
    lines = [
        replace(
            _line(arm, [one.cells.get(arm.name, _NOT_MEASURED) for one in made]), flag=flags.get(arm.name, "")
        )
        for arm in arms
    ]
    if inputs.floor:
        floor = tuple(one.cells.get(NOISE_FLOOR, _NOT_MEASURED) for one in made)
        label, flag = "noise floor: true videos through the codec", flags.get(NOISE_FLOOR, "")
        lines.append(Line("ground truth", label, "", floor, "floor", flag))
    said = (*inputs.gathered.cautions, *notes, *note)
    return Table(key, title, tuple(one.column for one in made), tuple(lines), said)


def _unmarked(made: Sequence[_Ranked], basis: ResamplingUnits) -> tuple[str, ...]:
    """Note which arms carry no marks."""
    columns = Counter(arm for one in made for arm in one.few)
    if not columns:
        return ()
    seeds = f", or {LEAST_SEEDS} training seeds," if basis.over_seeds else ""
    told = [
        arm if count == len(made) else f"{arm} ({count} of {len(made)} columns)"
        for arm, count in columns.items()
    ]
    return (
        f"Not marked (best, =, stars), since intervals below {LEAST_CLUSTERS} prompts{seeds} with a value "
        f"are unreliable: {shortened(told)}.",
    )


def _star(made: Sequence[_Ranked], reference: str, basis: ResamplingUnits) -> tuple[str, ...]:
    """Set every cell's p-value against the reference, adjusted over the table; return a note."""
    tested = [
        (one, [arm for arm in one.panel.arms if arm != reference])
        for one in made
        if reference in one.panel.rows and one.column.better is not None
    ]
    found = [
        one.panel.differences(one.panel.of(arms), one.panel.of([reference] * len(arms)))
        for one, arms in tested
    ]
    count, prompts = (
        sum(int(one.reliable.sum()) for one in found),
        max(len(one.panel.prompts) for one in made),
    )
    if not count:
        return ()
    if not basis.over_seeds and count * least_p(prompts) >= STARS[0]:
        return (f"No stars: {count} differences are more than {prompts} prompts can show after Holm.",)
    adjusted = iter(holm(np.concatenate([np.where(one.reliable, one.p, np.nan) for one in found])).tolist())
    for one, arms in tested:
        one.cells.update({arm: replace(one.cells[arm], p=next(adjusted)) for arm in arms})
    return (
        f"Stars: differs from {reference} ({basis.test}, Holm over the {count} differences of this table): "
        "* p < .05, ** p < .01, *** p < .001.",
    )


def _unpaired(made: Sequence[_Ranked], reference: str) -> tuple[str, ...]:
    """Note arms without a video in common with the reference, and those with only some."""
    apart = dict.fromkeys(name for one in made for name in one.apart)
    notes = (
        [f"Not ranked, since they share no video with the arms that are: {', '.join(apart)}."]
        if apart
        else []
    )
    some: dict[str, str] = {}
    for one in made:
        if reference not in one.panel.rows:
            continue
        known = dict(zip(one.panel.arms, np.any(np.isfinite(one.panel.values), axis=1), strict=True))
        for arm, own in known.items():
            shared, videos = int((own & known[reference]).sum()), int(own.sum())
            if shared < videos:
                some[arm] = f"{arm} ({shared} of {videos})"
    if some:
        notes.append(
            f"TableInputs with {reference} only on the videos that both have: {', '.join(some.values())}."
        )
    return tuple(notes)


def _figures(
    arms: Sequence[Arm],
    columns: Sequence[Column],
    value: Callable[[Arm, str], float],
    faults: Mapping[str, Sequence[str]],
) -> tuple[Line, ...]:
    """Make one row per arm; the best of each column with a direction is marked, if two are known."""
    grid: list[list[Cell]] = []
    reasons = {arm.name: "; ".join(faults.get(arm.name, ["not recorded"])) for arm in arms}
    for column in columns:
        values = {arm.name: value(arm, column.key) for arm in arms}
        known = {values[arm.name] for arm in arms if not arm.control and math.isfinite(values[arm.name])}
        best = math.nan
        if len(known) > 1 and column.better is not None:
            best = min(known) if column.better == "lower" else max(known)
        grid.append([Cell(values[a.name], best=values[a.name] == best, reason=reasons[a.name]) for a in arms])
    return tuple(_line(arm, cells) for arm, cells in zip(arms, zip(*grid, strict=True), strict=True))


def _cost(means: pd.DataFrame, arm: Arm, key: str) -> float:
    if key == "context_tokens":
        return math.inf if arm.context_tokens is None else float(arm.context_tokens)
    return _mean(means, arm, key)


def _mean(means: pd.DataFrame, arm: Arm, key: str) -> float:
    return float(means[key][arm.name]) if key in means else math.nan


def _line(arm: Arm, cells: Sequence[Cell]) -> Line:
    label = arm.label if arm.label != arm.name else ""
    return Line(arm.name, label, arm.recipe.order, tuple(cells), "control" if arm.control else "arm")


def _digits(values: NDArray[np.float64]) -> int:
    """Decimals that show the typical standard error of a row with two digits."""
    values = values.reshape(len(values), -1)
    known = np.isfinite(values)
    counts = known.sum(1, keepdims=True).astype(np.float64)
    rows = np.where(known, values, 0.0)
    enough = counts[:, 0] > 1
    rows, known, counts = rows[enough], known[enough], counts[enough]
    away = np.where(known, rows - rows.sum(1, keepdims=True) / counts, 0.0)
    errors = np.sqrt((away**2).sum(1) / (counts[:, 0] - 1) / counts[:, 0])
    spread = float(np.median(errors[errors > 0])) if (errors > 0).any() else math.nan
    return int(np.clip(1 - math.floor(math.log10(spread)), 1, 3)) if math.isfinite(spread) else 3
