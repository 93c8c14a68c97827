"""Values of the paper, as far as known, each with its status: stated in the text, or quoted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from fp_lab.lab.files.experiments import experiments_folder
from fp_lab.recipe import RecipeError, parse

REFERENCE_FILE = "reference/paper_tables.yaml"
_ABOUT = ("name", "order", "status")


@dataclass(frozen=True)
class PaperRow:
    """A row of one of the paper's tables.

    Attributes:
        name: canonical ablation name, or a baseline's label.
        figures: values such as ``clarity``, ``drift_clarity`` (percent), ``elo``; unknown ones are left out.
        status: origin of the values: ``text``, ``quoted``, or why there are none.
    """

    name: str
    figures: Mapping[str, float]
    status: str


@dataclass(frozen=True)
class PaperTable:
    """One of the paper's tables.

    Attributes:
        key: ``table1`` or ``table2``.
        rows: rows in the paper's order.
    """

    key: str
    rows: tuple[PaperRow, ...]

    @property
    def figures(self) -> tuple[str, ...]:
        """Columns with a value in any row: scores, then drifts, then human votes."""
        found = dict.fromkeys(name for row in self.rows for name in row.figures)
        return tuple(sorted(found, key=lambda name: (name in ("elo", "rank"), name.startswith("drift_"))))


@dataclass(frozen=True)
class Paper:
    """Known content of the paper.

    Attributes:
        source: version, model, size and number of prompts.
        tables: tables by key.
        findings: statements of the text about Table 1.
        efficiency: batch sizes and hours of full-sequence diffusion and FramePack.
        variants: parameters and context tokens of the model variants.
    """

    source: str
    tables: Mapping[str, PaperTable]
    findings: tuple[str, ...]
    efficiency: Mapping[str, Any]
    variants: Mapping[str, Mapping[str, float]]

    def table(self, key: str) -> PaperTable:
        """Look up a table by its key.

        Raises:
            ValueError: there is no such table.
        """
        if key not in self.tables:
            raise ValueError(f"got paper table {key!r}, expected one of {', '.join(self.tables)}, or others")
        return self.tables[key]


@lru_cache
def paper() -> Paper:
    """Read the reference file that comes with fp_lab."""
    path = experiments_folder() / REFERENCE_FILE
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    tables = {key: PaperTable(key, tuple(map(_row, told[key]))) for key in ("table1", "table2")}
    variants = {
        name: {key: float(value) for key, value in own.items()}
        for name, own in told["model_variants"].items()
    }
    return Paper(
        told["source"], tables, tuple(map(str, told["table1_findings"])), told["efficiency"], variants
    )


def _row(told: Mapping[str, Any]) -> PaperRow:
    figures = {key: float(value) for key, value in told.items() if key not in _ABOUT}
    try:
        name = str(parse(told["name"]))
    except RecipeError:  # a baseline
        name = told["name"]
    return PaperRow(name, figures, told["status"])
