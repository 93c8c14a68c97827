"""Check of claims, and output of the outcomes."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table as RichTable

from fp_lab.lab.claims.claim import Checked, Claim, Evidence, Outcome
from fp_lab.lab.claims.registry import CLAIMS
from fp_lab.lab.compare.comparison import Comparison, compare_runs
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.results.find_runs import group_by_length
from fp_lab.lab.scoring.files import plain

CLAIMS_FILE = "claims.json"
_LINE = 60  # characters of a column of sentences
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
    """Check every claim, on runs where it needs any.

    Args:
        runs: folders of grids, arms or runs.
        only: ids, or prefixes of ids such as ``table1``; empty: all.
        begin: called with the name of each step.

    Raises:
        ValueError: there are no scores in the runs, or an id is unknown.

    Returns:
        Evidence on the longest videos, and the claims: each is decided at every length of videos (horizon),
        and its outcome is that of the longest one with the arms for it.
    """
    known = [claim.id for claim in CLAIMS]
    for wanted in only:
        if not any(_named(wanted, id) for id in known):
            raise ValueError(f"got claim {wanted!r}, expected one of {', '.join(known)}")
    if runs:
        begin("Comparing the runs")
    lengths = group_by_length(runs) if runs else {}
    # one length, or none with scores: `compare_runs` says what is wrong
    parts = list(lengths.values()) if len(lengths) > 1 else [list(runs)] if runs else []
    known_at = [Evidence(compare_runs(part)) for part in parts] or [Evidence()]
    chosen = [claim for claim in CLAIMS if not only or any(_named(wanted, claim.id) for wanted in only)]
    checked = []
    for number, claim in enumerate(chosen, start=1):
        begin(f"Checking {claim.id}, {number} of {len(chosen)}")
        checked.append(Checked(claim, _over_horizons(claim, known_at)))
    return known_at[-1], checked


def check_on(comparison: Comparison) -> list[Checked]:
    """Check the empirical claims on an existing comparison."""
    evidence = Evidence(comparison)
    chosen = [claim for claim in CLAIMS if claim.kind == "empirical"]
    return [Checked(claim, _over_horizons(claim, [evidence])) for claim in chosen]


def _over_horizons(claim: Claim, known_at: Sequence[Evidence]) -> Outcome:
    """Outcome at the longest horizon with one; the evidence names it, and the outcomes at others."""
    if claim.kind != "empirical":
        return claim.check(known_at[-1])
    outcomes = {evidence.frames: claim.check(evidence) for evidence in known_at}
    measured = {frames: made for frames, made in outcomes.items() if made.status != "not measured"}
    if not measured:
        return outcomes[known_at[-1].frames]
    frames, last = list(measured.items())[-1]
    words = f"videos of {frames} frames: {last.evidence}"
    if len(measured) > 1:
        told = (f"{n} frames {made.status}{_mean_effect(made)}" for n, made in measured.items())
        words += f"; over horizons: {', '.join(told)}"
    return replace(last, evidence=words)


def _mean_effect(made: Outcome) -> str:
    means = [one.mean for one in made.differences if math.isfinite(one.mean)]
    return f" (mean effect {fmean(means):+.3g})" if means else ""


def _named(wanted: str, id: str) -> bool:
    return id == wanted or id.startswith(f"{wanted}/")


def as_json(evidence: Evidence, checked: Sequence[Checked]) -> dict[str, Any]:
    """Convert evidence and outcomes of all claims to plain data."""
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
    """Count the claims by status."""
    found = [one.outcome.status for one in checked]
    return ", ".join(f"{found.count(status)} {status}" for status in STYLES if status in found)


def to_rich(checked: Sequence[Checked]) -> RichTable:
    """Build a table for the terminal."""
    table = RichTable(show_lines=True)
    for head in ("claim", "status", "what is claimed", "evidence"):
        table.add_column(head, overflow="fold", max_width=_LINE)
    for one in checked:
        status = one.outcome.status
        table.add_row(one.claim.id, f"[{STYLES[status]}]{status}[/]", one.claim.text, one.outcome.evidence)
    return table
