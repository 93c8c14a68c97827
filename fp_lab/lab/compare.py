"""Comparison of arms: tables per family, paired by prompt and seed, and a verdict."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from fp_lab.lab.atomic import write_text
from fp_lab.lab.contrasts import paired_values
from fp_lab.lab.evaluate import NOISE_FLOOR
from fp_lab.lab.gathered import Arm, Gathered, gather
from fp_lab.lab.measured import COMPANION_FAMILY, measures
from fp_lab.lab.summary import clusters
from fp_lab.lab.tables import Cell, Column, Line, Table, number, to_csv, to_html, to_markdown, to_text
from fp_lab.lab.verdict import Verdict, judge
from fp_metrics import Estimator, cluster_interval, paired_interval

Figure = Literal["value", "drift_size", "exposure_gap"]

FAMILY_NOTES = {
    "world": "against the synthetic world's ground truth",
    "probe": "read by a small network, without ground truth",
    "offline": "learned estimators from ordinary packages",
    "plain": "weight-free, for any video",
    COMPANION_FAMILY: "against the true continuation",
}
_DRIFT_NOTE = (
    "Mean |d| over videos, d = score of the last 15 % less that of the first 15 %; in brackets the signed "
    "mean of d with half of its 95 % interval's width. Mean |d| is biased upward by noise: compare it with "
    "the ground truth's. "
    "What is wrong from the first section on does not drift: read the scores beside it."
)
_RANK_NOTE = (
    "Bold: best of its column; =: cannot be told from it (95 % interval of the paired difference covers 0). "
    "A control without history takes no part in the ranking."
)
_GAP_NOTE = (
    "Score from true history less score from the model's own, section by section; best is closest to 0."
)


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of arms.

    Attributes:
        gathered: the scores behind it.
        tables: the first family's first.
        verdict: what can be told apart.
    """

    gathered: Gathered
    tables: tuple[Table, ...]
    verdict: Verdict

    @property
    def markdown(self) -> str:
        """Verdict and tables."""
        parts = [f"{self.verdict.text}\n", *(to_markdown(table) for table in self.tables)]
        return "\n".join([*parts, *_waiting_note(self.gathered)])

    @property
    def text(self) -> str:
        """The tables to look at first, for a terminal, and the verdict."""
        rank = "* best of its column, = cannot be told from it; intervals and further tables are in table.md"
        return "\n".join([*(to_text(table) for table in self.shown), rank, "", self.verdict.text, ""])

    @property
    def shown(self) -> tuple[Table, ...]:
        """The tables to look at first."""
        return tuple(t for i, t in enumerate(self.tables) if i < 3 or t.key in ("drift-probe", "score-probe"))

    @property
    def html(self) -> str:
        """The tables."""
        return "\n".join(to_html(table) for table in self.tables)

    def write(self, folder: Path) -> None:
        """Write ``table`` as .md, .txt (for terminals), .csv and .html, and ``verdict.json``."""
        write_text(folder / "table.md", self.markdown)
        write_text(folder / "table.txt", self.text)
        write_text(folder / "table.csv", to_csv(self.tables))
        head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>fp_lab comparison</title>'
        write_text(folder / "table.html", f"{head}{self.html}</html>")
        write_text(folder / "verdict.json", json.dumps(asdict(self.verdict), indent=2) + "\n")


def compare_runs(paths: Sequence[Path], settings: Sequence[str] = ()) -> Comparison:
    """Compare the scored runs below some folders, see `gather`.

    Raises:
        ValueError: no scores there, or scores that cannot share a table.
    """
    return compare(gather(paths, settings))


def compare(gathered: Gathered) -> Comparison:
    """Build the tables and the verdict."""
    videos = _own(gathered)
    tables: list[Table] = []
    for family in gathered.families:
        estimators = gathered.estimators(family)
        tables += [
            _drift_table(gathered, videos, family, estimators),
            _score_table(gathered, videos, family, estimators),
        ]
        tables += _gap_table(gathered, videos, family, estimators)
    tables[2:2] = [_cost_table(gathered), *_codebook_table(gathered)]
    return Comparison(gathered, tuple(tables), judge(gathered, videos))


def _own(gathered: Gathered) -> pd.DataFrame:
    """Rows from own history and of the ground truth, with prompts as clusters and the size of the drift."""
    floor = gathered.floor_videos
    parts = [gathered.videos[gathered.videos["history"] == "own"], floor[floor["history"] == NOISE_FLOOR]]
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    rows = (
        rows.drop(columns="exposure_gap") if rows.get("exposure_gap", pd.Series([0])).isna().all() else rows
    )
    return rows.assign(cluster=clusters(rows), drift_size=rows["drift"].abs())


def _title(family: str, what: str) -> str:
    return f"{what}, family {family} ({FAMILY_NOTES.get(family, 'estimators of this family only')})"


def _drift_table(gathered: Gathered, videos: pd.DataFrame, family: str, estimators: dict[str, str]) -> Table:
    columns, cells = [], []
    for score, estimator in estimators.items():
        rows = videos[videos["estimator"] == estimator]
        digits = _digits(rows, "drift_size")
        columns.append(Column(score, score, estimator, "lower", digits))

        def signed(values: pd.DataFrame, digits: int = digits) -> str:
            found = cluster_interval(values["drift"].to_numpy(float), list(values["cluster"]))
            half = (found.high - found.low) / 2
            width = f" ±{number(half, digits)}" if math.isfinite(half) else ""
            return f"({number(found.mean, digits)}{width})"

        cells.append(_ranked(gathered, rows, "drift_size", "lower", signed))
    return Table(
        f"drift-{family}",
        _title(family, "Drift"),
        tuple(columns),
        _lines(gathered, cells),
        (_DRIFT_NOTE, _RANK_NOTE, *accuracy_notes(estimators.values())),
    )


def _score_table(gathered: Gathered, videos: pd.DataFrame, family: str, estimators: dict[str, str]) -> Table:
    columns, cells = [], []
    kinds = measures()
    for score, estimator in estimators.items():
        rows = videos[videos["estimator"] == estimator]
        better: Literal["higher", "lower"] | None
        better = {True: "higher", False: "lower", None: None}[kinds[estimator].higher_is_better]
        columns.append(
            Column(score, score, f"{estimator}, {kinds[estimator].unit}", better, _digits(rows, "value"))
        )
        cells.append(_ranked(gathered, rows, "value", better))
    notes = (
        "Mean over videos, own history, with the half-width of its 95 % interval (clusters: prompts).",
        _RANK_NOTE,
        *accuracy_notes(estimators.values()),
    )
    return Table(f"score-{family}", _title(family, "Scores"), tuple(columns), _lines(gathered, cells), notes)


def accuracy_notes(estimators: Iterable[str]) -> Iterator[str]:
    """How good estimators are that were measured against a truth."""
    kinds = measures()
    for name in estimators:
        kind = kinds[name]
        if issubclass(kind, Estimator) and (accuracy := kind.accuracy()):
            yield f"{name}: {accuracy}."


def _gap_table(
    gathered: Gathered, videos: pd.DataFrame, family: str, estimators: dict[str, str]
) -> list[Table]:
    if "exposure_gap" not in videos:
        return []
    columns, cells = [], []
    for score, estimator in estimators.items():
        rows = videos[(videos["estimator"] == estimator) & (videos["arm"] != NOISE_FLOOR)]
        columns.append(Column(score, score, estimator, "lower", _digits(rows, "exposure_gap")))
        cells.append(_ranked(gathered, rows, "exposure_gap", "lower"))
    title = _title(family, "Exposure-bias gap")
    lines = tuple(line for line in _lines(gathered, cells) if line.kind != "floor")
    return [Table(f"gap-{family}", title, tuple(columns), lines, (_GAP_NOTE, _RANK_NOTE))]


def _cost_table(gathered: Gathered) -> Table:
    columns = (
        Column("context_tokens", "context tokens", "at most, per section", None, 0),
        Column("step_seconds", "step time", "s, median of training", "lower", 3),
        Column("tokens_per_second", "tokens/s", "training", "higher", 0),
        Column("peak_memory_mib", "peak MiB", "training and sampling", None, 0),
        Column("frames_per_second", "frames/s", "sampling", "higher", 1),
        Column("first_section_seconds", "first section", "s", "lower", 2),
    )
    means = gathered.efficiency.groupby("arm").mean(numeric_only=True)
    lines = _figures(gathered.arms, columns, lambda arm, key: _cost(means, arm, key))
    notes = (
        "Measured on the machine that ran the grid; differences of a few per cent are noise.",
        "Peak memory is not ranked: on a CPU it is the process's, which keeps what earlier arms have loaded.",
    )
    return Table("cost", "Context and cost", columns, lines, notes)


def _codebook_table(gathered: Gathered) -> list[Table]:
    """How well the codebooks of discrete histories serve, where there are any."""
    if gathered.codebooks.empty:
        return []
    columns = (
        Column("size", "centroids", "K", None, 0),
        Column("used", "used", "centroids, of training", None, 0),
        Column("perplexity", "perplexity", "exp of the entropy", None, 1),
        Column("relative_error", "relative error", "of the pixels' variance", "lower", 3),
    )
    means = gathered.codebooks.groupby("arm").mean(numeric_only=True)
    arms = [arm for arm in gathered.arms if arm.name in means.index]
    lines = _figures(arms, columns, lambda arm, key: float(means[key][arm.name]))
    notes = ("Of the latent pixels of the training videos, which the codebook was fitted to.",)
    return [Table("codebook", "Codebooks of discrete histories", columns, lines, notes)]


def _figures(
    arms: Sequence[Arm], columns: Sequence[Column], value: Callable[[Arm, str], float]
) -> tuple[Line, ...]:
    """One line per arm; the best of each column that has a direction is marked, if two are known."""
    grid: list[list[Cell]] = []
    for column in columns:
        values = {arm.name: value(arm, column.key) for arm in arms}
        known = {values[arm.name] for arm in arms if not arm.control and math.isfinite(values[arm.name])}
        best = math.nan
        if len(known) > 1 and column.better is not None:
            best = min(known) if column.better == "lower" else max(known)
        grid.append([Cell(values[a.name], best=values[a.name] == best, reason="not recorded") for a in arms])
    return tuple(_line(arm, cells) for arm, cells in zip(arms, zip(*grid, strict=True), strict=True))


def _cost(means: pd.DataFrame, arm: Arm, key: str) -> float:
    if key == "context_tokens":
        return math.inf if arm.context_tokens is None else float(arm.context_tokens)
    return float(means[key][arm.name]) if key in means else math.nan


def _ranked(
    gathered: Gathered,
    rows: pd.DataFrame,
    figure: Figure,
    better: Literal["higher", "lower"] | None,
    extra: Callable[[pd.DataFrame], str] = lambda rows: "",
) -> dict[str, Cell]:
    """A cell per arm and for the ground truth; the best arm and its ties are marked."""
    cells: dict[str, Cell] = {}
    for arm, values in rows.groupby("arm", sort=False):
        found = cluster_interval(values[figure].to_numpy(float), list(values["cluster"]))
        column = {"value": "reason", "drift_size": "drift_reason", "exposure_gap": "exposure_reason"}[figure]
        why = "; ".join(sorted({str(r) for r in values[column].dropna()})) if math.isnan(found.mean) else ""
        cells[str(arm)] = Cell(
            found.mean, found.low, found.high, "" if math.isnan(found.mean) else extra(values), reason=why
        )
    ranked = [arm.name for arm in gathered.arms if not arm.control and arm.name in cells]
    names = [name for name in ranked if math.isfinite(cells[name].value)]
    if better is None or len(names) < 2:
        return cells
    size = {name: abs(cells[name].value) if figure == "exposure_gap" else cells[name].value for name in names}
    best = (max if better == "higher" else min)(names, key=lambda name: size[name])
    pairs = paired_values(rows[rows["arm"].isin(names)], figure)
    pairs = pairs.abs() if figure == "exposure_gap" else pairs
    for name in names:
        cells[name] = replace(cells[name], best=name == best, tie=name != best and _tied(pairs, name, best))
    return cells


def _tied(pairs: pd.DataFrame, name: str, best: str) -> bool:
    """Whether the interval of the paired difference to the best covers 0; without an interval, yes."""
    both = pairs[[name, best]].dropna()
    prompts = list(both.index.get_level_values("cluster"))
    found = paired_interval(both[name].to_numpy(float), both[best].to_numpy(float), prompts)
    return not found.excludes(0.0)


def _lines(gathered: Gathered, cells: Sequence[dict[str, Cell]]) -> tuple[Line, ...]:
    nothing = Cell(math.nan, reason="not measured")
    lines = [_line(arm, [c.get(arm.name, nothing) for c in cells]) for arm in gathered.arms]
    if len(gathered.floor_videos):
        floor = tuple(c.get(NOISE_FLOOR, nothing) for c in cells)
        lines.append(Line("ground truth", "noise floor: true videos through the codec", "", floor, "floor"))
    return tuple(lines)


def _line(arm: Arm, cells: Sequence[Cell]) -> Line:
    label = arm.label if arm.label != arm.name else ""
    return Line(arm.name, label, arm.recipe.order, tuple(cells), "control" if arm.control else "arm")


def _digits(rows: pd.DataFrame, figure: Figure) -> int:
    """Decimals that show a typical standard error with two digits."""
    spread = rows.groupby("arm")[figure].sem().replace(0, np.nan).median() if figure in rows else math.nan
    if not math.isfinite(spread):
        return 3
    return int(np.clip(1 - math.floor(math.log10(spread)), 1, 3))


def _waiting_note(gathered: Gathered) -> list[str]:
    if not gathered.waiting:
        return []
    return ["Not scored yet: " + ", ".join(str(run) for run in gathered.waiting) + "\n"]
