"""The claim that errors of single steps tell the drift of a rollout, decided by stored measures."""

from fp_lab.lab.claims.claim import Evidence, Outcome
from fp_lab.lab.claims.empirical import missing
from fp_lab.lab.claims.memory import rank_with_drift, with_own_history
from fp_lab.lab.compare.without_rollout import summed_errors


def sum_predicts_drift(evidence: Evidence) -> Outcome:
    """Compute Kendall's tau over arms between summed errors of sections and drift in clarity.

    The errors are of sampled latents from true history, so that none is carried on.
    """
    assert evidence.comparison is not None
    errors = summed_errors(evidence.comparison.gathered, "section")
    if not errors.arms:
        return missing("errors of single steps; runs sampled from now on have them")
    return rank_with_drift(evidence, with_own_history(evidence), "sum of step errors", errors)
