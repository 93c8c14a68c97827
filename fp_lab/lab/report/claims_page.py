"""Page of the claims: each with its status, evidence, rule and command."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from fp_lab.lab.claims import Checked, Evidence, counted
from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.report.document import document

_COLOURS = {
    "reproduced": "#e9f6ec",
    "toy": "#e8f4f8",
    "not reproduced": "#fdecea",
    "inconclusive": "#fff8e5",
    "not measured": "#f6f8fa",
}
CAVEAT = (
    "Toy: reproduced by small models of the toy world, which says nothing yet about 13B. Inconclusive: these "
    "runs are too few, too short or too alike to tell, not that it is false."
)
_HEADINGS = {
    "exact": "Arithmetic",
    "empirical": "From runs",
    "declared": "Not measured by this lab yet",
}


def write_claims_page(evidence: Evidence, checked: Sequence[Checked], folder: Path) -> Path:
    """Write ``index.html``, which needs no other file.

    Args:
        evidence: evidence of the checks.
        checked: claims with outcomes.
        folder: output folder.
    """
    sections = {
        heading: claims_html([one for one in checked if one.claim.kind == kind])
        for kind, heading in _HEADINGS.items()
    }
    sections = {heading: html for heading, html in sections.items() if html}
    lead = [f"{len(checked)} claims: {counted(checked)}."]
    lead += [f"Empirical ones are {evidence.scope}."] if evidence.scope else []
    page = folder / "index.html"
    write_text(page, document("Claims", lead, CAVEAT, sections))
    return page


def claims_html(checked: Sequence[Checked]) -> str:
    """Render claims as one table, empty without any, for this page and for a grid's report."""
    rows = "\n".join(_row(one) for one in checked)
    heads = "".join(f"<th>{head}</th>" for head in ("claim", "status", "what is claimed", "evidence", "how"))
    head = f"<thead><tr>{heads}</tr></thead>"
    return f'<table class="protocol">{head}<tbody>{rows}</tbody></table>' if rows else ""


def _row(one: Checked) -> str:
    claim, outcome = one.claim, one.outcome
    colour = _COLOURS[outcome.status]
    cells = (
        f"<code>{escape(claim.id)}</code>",
        f"<strong>{escape(outcome.status)}</strong>",
        f"{escape(claim.text)}<small>{escape(claim.source)}</small>",
        "<br>".join(escape(part) for part in outcome.evidence.split("; ")),
        f"{escape(claim.rule)}<br><code>{escape(claim.command)}</code>",
    )
    body = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr style="background:{colour}">{body}</tr>'
