"""Executable claims: statements of the paper and its project, each with a check on any runs."""

from fp_lab.lab.claims.check import as_json, check_claims, check_on, counted, to_rich, write_claims
from fp_lab.lab.claims.claim import Checked, Claim, Difference, Evidence, Outcome, Status
from fp_lab.lab.claims.registry import CLAIMS, register_claim

__all__ = [
    "CLAIMS",
    "Checked",
    "Claim",
    "Difference",
    "Evidence",
    "Outcome",
    "Status",
    "as_json",
    "check_claims",
    "check_on",
    "counted",
    "register_claim",
    "to_rich",
    "write_claims",
]
