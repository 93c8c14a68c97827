"""Checking the claims, and writing what came of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table as RichTable

from fp_lab.lab.atomic import write_text
from fp_lab.lab.claims.model import Checked, Evidence
from fp_lab.lab.claims.registry import CLAIMS
from fp_lab.lab.compare import Comparison, compare_runs
from fp_lab.lab.summary import plain

CLAIMS_FILE = "claims.json"
STYLES = {
    "reproduced": "green",
    "toy": "cyan",
    "not reproduced": "red",
    "inconclusive": "yellow",
    "not measured": "dim",
}


def check_claims(
    runs: Sequence[Path] = (), only: Sequence[str] = (), begin: Callable[[str], None] = lambda line: None
) -> tuple[Evidence, list[Checked]]:
    """Check every claim, on runs as far as it needs any.

    Args:
        runs: folders of grids, arms or runs.
        only: ids, or beginnings of ids such as ``table1``; empty: all.
        begin: hears what is being done.

    Raises:
        ValueError: no scores in the runs, or an id that is none.
    """
    known = [claim.id for claim in CLAIMS]
    for wanted in only:
        if not any(_named(wanted, id) for id in known):
            raise ValueError(f"got claim {wanted!r}, expected one of {', '.join(known)}")
    if runs:
        begin("Comparing the runs")
    evidence = Evidence(compare_runs(runs) if runs else None)
    chosen = [claim for claim in CLAIMS if not only or any(_named(wanted, claim.id) for wanted in only)]
    checked = []
    for number, claim in enumerate(chosen, start=1):
        begin(f"Checking {claim.id}, {number} of {len(chosen)}")
        checked.append(Checked(claim, claim.check(evidence)))
    return evidence, checked


def check_on(comparison: Comparison) -> list[Checked]:
    """Check the empirical claims on runs that are compared already."""
    evidence = Evidence(comparison)
    chosen = [claim for claim in CLAIMS if claim.kind == "empirical"]
    return [Checked(claim, claim.check(evidence)) for claim in chosen]


def _named(wanted: str, id: str) -> bool:
    return id == wanted or id.startswith(f"{wanted}/")


def as_json(evidence: Evidence, checked: Sequence[Checked]) -> dict[str, Any]:
    """All that is known of every claim, as plain data."""
    claims = []
    for one in checked:
        told = {key: value for key, value in vars(one.claim).items() if key != "check"}
        claims.append(told | asdict(one.outcome))
    runs = sorted(str(run) for arm in evidence.arms for run in arm.folders)
    return {"scope": evidence.scope, "runs": runs, "claims": plain(claims)}


def write_claims(evidence: Evidence, checked: Sequence[Checked], folder: Path) -> None:
    """Write ``claims.json`` into a folder."""
    write_text(folder / CLAIMS_FILE, json.dumps(as_json(evidence, checked), indent=2) + "\n")


def counted(checked: Sequence[Checked]) -> str:
    """How many have which status."""
    found = [one.outcome.status for one in checked]
    return ", ".join(f"{found.count(status)} {status}" for status in STYLES if status in found)


def to_rich(checked: Sequence[Checked]) -> RichTable:
    """For a terminal."""
    table = RichTable(show_lines=True)
    for head in ("claim", "status", "what is claimed", "evidence"):
        table.add_column(head, overflow="fold")
    for one in checked:
        status = one.outcome.status
        table.add_row(one.claim.id, f"[{STYLES[status]}]{status}[/]", one.claim.text, one.outcome.evidence)
    return table
