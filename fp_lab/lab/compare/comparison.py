"""Comparison of arms: tables per family, paired by video, with the paper's values and a verdict."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Literal

from fp_lab.lab.compare.arm_tables import (
    TableInputs,
    codebook_table,
    cost_table,
    drift_given_table,
    drift_table,
    gap_table,
    score_table,
)
from fp_lab.lab.compare.efficiency import efficiency_table, grid_folder, measured_efficiency
from fp_lab.lab.compare.forgetting import forgetting_table, gather_forgetting
from fp_lab.lab.compare.paired_values import Panels
from fp_lab.lab.compare.paper_table import paper_table
from fp_lab.lab.compare.paper_values import PaperTable, paper
from fp_lab.lab.compare.quoted_tables import OTHERS, quoted_table, quoted_tables
from fp_lab.lab.compare.verdict import Verdict, judge
from fp_lab.lab.compare.without_rollout import influence_table, level_influences, step_errors_table
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.results.efficiency import measuring_command
from fp_lab.lab.results.gather import Gathered, make_from_scores
from fp_lab.lab.scoring.files import plain
from fp_lab.lab.tables import Table, to_csv, to_html, to_latex, to_markdown, to_text

Format = Literal["md", "latex", "csv", "html"]
SUFFIXES: dict[Format, str] = {"md": "md", "latex": "tex", "csv": "csv", "html": "html"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparison of arms, whose tables are made when requested.

    Attributes:
        gathered: scores behind the comparison.
        panels: metrics of the arms, from own history.
        makers: key of each table -> function that makes it; those of the first family first.
        verdict: statistically supported differences.
    """

    gathered: Gathered
    panels: Panels
    makers: Mapping[str, Callable[[], Table]]
    verdict: Verdict

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """All tables."""
        return tuple(make() for make in self.makers.values())

    @cached_property
    def shown(self) -> tuple[Table, ...]:
        """Main tables."""
        return tuple(
            make()
            for place, (key, make) in enumerate(self.makers.items())
            if place < 3
            or key in ("efficiency", "drift-probe", "score-probe", "forgetting", "influence", "step-errors")
            or key.startswith("paper-")
        )

    def table(self, key: str) -> Table:
        """Make one table by its key, such as ``drift-world`` or ``cost``.

        Raises:
            ValueError: there is no table with that key.
        """
        if key not in self.makers:
            raise ValueError(f"got table {key!r}, expected one of {', '.join(self.makers)}")
        return self.makers[key]()

    @property
    def markdown(self) -> str:
        """Write verdict and tables as Markdown."""
        waiting = ", ".join(str(run) for run in self.gathered.waiting)
        parts = [f"{said}\n" for said in (*self.gathered.cautions, self.verdict.text)]
        parts += [*(to_markdown(table) for table in self.tables)]
        parts += [f"Not scored yet: {waiting}\n"] if waiting else []
        return "\n".join([*parts, *(f"{line}\n" for line in self.gathered.left_out)])

    @property
    def text(self) -> str:
        """Write the main tables for a terminal, and the verdict."""
        rank = "* best of its column, = not significantly different from it; more is in table.md"
        said = (*self.gathered.cautions, self.verdict.text)
        return "\n".join([*(to_text(table) for table in self.shown), rank, "", *said, ""])

    @property
    def html(self) -> str:
        """Write all tables as HTML."""
        return "\n".join(to_html(table) for table in self.tables)

    def written(self, form: Format) -> str:
        """Write all tables in a format; HTML is a whole page."""
        if form == "html":
            head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>fp_lab comparison</title>'
            return f"{head}{self.html}</html>\n"
        if form == "latex":
            return "\n".join(to_latex(table) for table in self.tables)
        return self.markdown if form == "md" else to_csv(self.tables)

    def write(self, folder: Path) -> None:
        """Write ``table`` as .md, .tex, .csv, .html and .txt (for terminals), and ``verdict.json``."""
        for form, suffix in SUFFIXES.items():
            write_text(folder / f"table.{suffix}", self.written(form))
        write_text(folder / "table.txt", self.text)
        write_text(folder / "verdict.json", json.dumps(plain(asdict(self.verdict)), indent=2) + "\n")


def compare_runs(
    paths: Sequence[Path],
    settings: Sequence[str] = (),
    *,
    against: str | None = None,
    beside: str | None = None,
) -> Comparison:
    """Compare the scored runs below some folders, see `gather` and `compare`.

    Raises:
        ValueError: there are no scores, scores cannot share a table, or a name is unknown.
    """
    return make_from_scores(partial(compare, against=against, beside=beside), paths, settings)


def compare(gathered: Gathered, *, against: str | None = None, beside: str | None = None) -> Comparison:
    """Build the tables and the verdict.

    Args:
        gathered: scores of the arms.
        against: name or label of the reference arm of stars; by default the first one of vanilla order.
        beside: table of the paper to show, or `OTHERS`; by default the one that the grid is named after, if
            any.

    Raises:
        ValueError: there is no such arm or table.
    """
    inputs = TableInputs.of(gathered, _reference(gathered, against))
    makers: dict[str, Callable[[], Table]] = {}
    gaps = gathered.videos["exposure_gap"].notna().any()
    for number, family in enumerate(gathered.families):
        kinds = {"drift": drift_table, "score": score_table, "drift-given": drift_given_table}
        kinds |= {"gap": gap_table} if gaps else {}
        made: dict[str, Callable[[], Table]]
        made = {f"{kind}-{family}": cache(partial(make, inputs, family)) for kind, make in kinds.items()}
        if not number:
            first = dict(list(made.items())[:2]) | _cost_tables(gathered)
            if not gathered.codebooks.empty:
                first["codebook"] = cache(partial(codebook_table, gathered))
            made = first | made
        makers |= made
    for table in _paper_tables(gathered, None if beside == OTHERS else beside):
        makers[f"paper-{table.key}"] = cache(partial(paper_table, inputs, table))
    if gathered.returned:
        makers["forgetting"] = cache(lambda: forgetting_table(gathered, gather_forgetting(gathered)))
    if len(gathered.without_rollout):
        if found := level_influences(gathered):
            makers["influence"] = cache(partial(influence_table, gathered, found))
        makers["step-errors"] = cache(partial(step_errors_table, gathered))
    for quoted in quoted_tables() if beside == OTHERS else ():  # last: they are about other runs
        makers[f"paper-{OTHERS}-{quoted.key}"] = partial(quoted_table, quoted)
    verdict = judge(gathered, inputs.panels, inputs.reference, inputs.floor)
    return Comparison(gathered, inputs.panels, makers, verdict)


def _cost_tables(gathered: Gathered) -> dict[str, Callable[[], Table]]:
    """Tables of recorded cost and of measured efficiency, or a note how to measure it."""
    measured, folder = measured_efficiency(gathered), grid_folder(gathered)
    if measured is not None:
        return {
            "cost": cache(partial(cost_table, gathered)),
            "efficiency": cache(partial(efficiency_table, gathered, measured)),
        }
    command = "fp-lab grid GRID --efficiency" if folder is None else measuring_command(folder)
    note = f"Batch and time efficiency, arms in turn, have not been measured: `{command}`."
    return {"cost": cache(partial(cost_table, gathered, (note,)))}


def _reference(gathered: Gathered, wanted: str | None) -> str:
    if wanted is None:
        vanilla = [arm for arm in gathered.arms if arm.recipe.order == "vanilla"]
        return (vanilla or gathered.arms)[0].name
    for arm in gathered.arms:
        if wanted in (arm.name, arm.label):
            return arm.name
    names = ", ".join(arm.name for arm in gathered.arms)
    raise ValueError(f"got --against {wanted}, expected one of the arms: {names}")


def _paper_tables(gathered: Gathered, wanted: str | None) -> list[PaperTable]:
    names = {arm.name for arm in gathered.arms}
    grids = {folder.parents[1].name for arm in gathered.arms for folder in arm.folders}
    tables = [paper().table(key) for key in ([wanted] if wanted else grids & set(paper().tables))]
    matched = [table for table in tables if names & {row.name for row in table.rows}]
    if wanted and not matched:
        listed = ", ".join(row.name for row in tables[0].rows)
        raise ValueError(f"got --paper {wanted}, but none of these runs is among its rows: {listed}")
    return sorted(matched, key=lambda table: table.key)
