"""Registry of all claims: rows M1 to M20 of the feature table, findings of tables, and of others on drift."""

import sys
from typing import get_args

from fp_lab.lab.claims import empirical as runs
from fp_lab.lab.claims import exact, memory, step_errors
from fp_lab.lab.claims.claim import Check, Claim, Evidence, Kind, Outcome
from fp_lab.lab.claims.decisions import CONJUNCTION, EQUIVALENCE
from fp_lab.lab.claims.empirical import from_runs
from fp_lab.lab.claims.exact import matches
from fp_lab.lab.claims.memory import from_memory
from fp_lab.registry import note_registering

_TABLE1 = "fp-lab grid table1 evaluation.videos=32 && fp-lab claims runs/table1"
_TABLE2 = "fp-lab grid table2 evaluation.videos=32 && fp-lab claims runs/table2"
_MEMORY = "fp-lab grid memory && fp-lab claims runs/memory"
_ALONE = "fp-lab claims"
_PAPER1, _PAPER2 = "the paper, Table 1 and its text", "the paper, Table 2"
_BRIEF, _LAB = "the project's brief", "this lab: what its measure of memory has to show"
_EQUAL = "reproduced when every computed figure is the claimed one"
_PLANNED = "reproduced when the estimate reaches at least 90 % of the claimed ratios"


def _unmeasured(reason: str) -> Check:
    def check(evidence: Evidence) -> Outcome:
        return Outcome("not measured", reason)

    return check


def _exact(id: str, source: str, text: str, check: Check, rule: str = _EQUAL) -> Claim:
    return Claim(id, source, text, "exact", rule, _ALONE, check)


def _empirical(id: str, source: str, text: str, check: Check, rule: str, command: str = _TABLE1) -> Claim:
    return Claim(id, source, text, "empirical", rule, command, check)


def _declared(id: str, text: str, reason: str, command: str = "none yet") -> Claim:
    return Claim(id, _BRIEF, text, "declared", "not decided", command, _unmeasured(reason))


_COUNT = (
    "reproduced when so many of seven scores lie above every other order by their corrected 95 % intervals; "
    "not reproduced when too few are left that do not lie below another one; else inconclusive"
)
_SPREAD = (
    "per score, spread of the orders' mean drifts less that of configurations within an order, prompts "
    "resampled; reproduced when most 95 % intervals lie above 0 and none below; the reverse likewise"
)
_TAU = (
    "reproduced when the 95 % interval of Kendall's tau between both figures lies above 0; not "
    "reproduced when it lies below"
)
_ORDER = "reproduced when the 95 % interval of Kendall's tau with the paper's order lies above 0"

CLAIMS: list[Claim] = [
    _exact(
        "M1",
        "the paper, section 3.1",
        "The context has a fixed length however long the video is: L = S Lf + Lf (1 - 1/λ^T) / (1 - 1/λ), at "
        "most (S + λ/(λ-1)) Lf.",
        matches(exact.context_formula, 1e-6),
    ),
    _exact(
        "M2",
        "the paper, section 3.1",
        "Kernels (1,2,2) (1,4,2) (1,4,4) (1,8,4) (1,8,8) for the nearest frames at λ = 2; temporal kernels "
        "for F0 / F1,F2 / F3-F6 / F7-F14.",
        matches(exact.kernels),
    ),
    _empirical(
        "M3",
        _PAPER1,
        "Inverted anti-drifting has the lowest drift in all metrics.",
        from_runs(runs.lowest_drift),
        CONJUNCTION,
    ),
    _exact(
        "M4",
        "the paper, section 3.1",
        "Patchify parameters are independent per level and start as the pretrained projection on averaged "
        "latents.",
        matches(exact.initial_projections, 1e-4),
        "reproduced when outputs agree to 1e-4",
    ),
    _empirical(
        "M5",
        _PAPER1,
        "The tail options td, ta and tc differ negligibly.",
        from_runs(runs.tails_negligible),
        EQUIVALENCE,
    ),
    _declared(
        "M6",
        "HunyuanVideo and Wan are fine-tuned, full and LoRA, without training anew.",
        "needs the pretrained weights and cards that hold them; here only the memory is planned (M18)",
        "fp-lab plan hunyuan-video wan-14b",
    ),
    _exact(
        "M7",
        _BRIEF,
        "The section's token count drives the flow shift: 2.06 (g1), 2.68, 3.49, 4.54, 5.91, 7 (g6 and more) "
        "at 480p, so it is balanced up to g5 only.",
        matches(exact.shifts),
        "reproduced when every shift rounds to the claimed one",
    ),
    _exact(
        "M8",
        _BRIEF,
        "A batch four times as large (16 to 64) and a fifth of the time (240 h to 48 h): 13B at 480p on 8 "
        "A100-80G.",
        exact.batch_and_time,
        _PLANNED,
    ),
    _exact(
        "M9",
        _BRIEF,
        "Contexts of 3,120 (Base), 2,080 (Lite) and 3,900 (Extended) tokens.",
        matches(exact.variant_tokens, 1e-6),
    ),
    _declared(
        "M10",
        "Training at several resolutions: aspect-ratio buckets at 480p, in units of 32 pixels.",
        "not measured by this lab yet: its data are square; buckets of real videos would measure it",
    ),
    _declared(
        "M11",
        "Image-to-video, text-to-video and extension, 5 s and 60 s, sections delivered as they are made.",
        "not measured by this lab yet: no figure is claimed; 60 s from a real model would measure it",
        "fp-lab generate",
    ),
    _exact(
        "M12",
        _BRIEF,
        "Seven metrics; drift compares the first 15 % of a video with its last 15 %.",
        matches(exact.seven_scores),
    ),
    _empirical(
        "M13",
        _PAPER1,
        "A discrete history (+D) lessens the drift of the vanilla order.",
        from_runs(runs.less_drift_when_discrete),
        CONJUNCTION,
    ),
    _empirical(
        "M14",
        _BRIEF,
        "Where places are seen again, packing by similarity recalls more than packing by time.",
        from_memory(memory.similarity_recalls_more),
        CONJUNCTION,
        _MEMORY,
    ),
    _empirical(
        "M15",
        _PAPER2,
        "FramePack has the lowest drift of all architectures on every drift metric.",
        from_runs(runs.less_drift_than_baselines),
        CONJUNCTION,
        _TABLE2,
    ),
    _empirical(
        "M16",
        "the paper, v1 and v2, and the project's brief",
        "Sections of 9 frames are perceptually better than of 1 or 4 (here: by the scores, without people).",
        from_runs(runs.longest_section_best),
        CONJUNCTION,
    ),
    _declared(
        "M17",
        "Human A/B votes: ELO-K32 and rank; 1,220 for inverted, 1,222 and 1,225 for vanilla with +D.",
        "not measured by this lab yet: it needs people's votes",
    ),
    _exact(
        "M18",
        _BRIEF,
        "Inference takes about 40 GB at 480p (one A100-80G, two cards of 24 GB); training fits 8 A100-80G.",
        exact.memory,
        "training has to hold a sample, inference 40 GB within 10 %; less is inconclusive, as text encoder "
        "and codec are not counted",
    ),
    _declared(
        "M19",
        "MLflow compares all of the above: drift per checkpoint, efficiency.",
        "no figure is claimed: a feature, held by the tests",
        "fp-lab track RUN, fp-lab grid demo",
    ),
    _empirical(
        "M20",
        _BRIEF,
        "What is done against drift costs forgetting: of two arms the one that recalls more drifts more.",
        from_memory(memory.dilemma),
        _TAU,
        _MEMORY,
    ),
    _empirical(
        "memory/controls",
        _LAB,
        "19 uncompressed frames of history recall more than one.",
        from_memory(memory.controls),
        CONJUNCTION,
        _MEMORY,
    ),
    _empirical(
        "memory/packing",
        "the paper, section 3.1",
        "What a compression packs beside its one uncompressed frame is remembered.",
        from_memory(memory.packed_beyond_one),
        CONJUNCTION,
        _MEMORY,
    ),
    _empirical(
        "memory/reach",
        _LAB,
        "Beyond its reach a schedule that drops its tail recalls what one frame does.",
        from_memory(memory.nothing_beyond_reach),
        EQUIVALENCE,
        _MEMORY,
    ),
    _empirical(
        "memory/shuffled",
        _LAB,
        "The history of another video recalls what no history does.",
        from_memory(memory.shuffled_recalls_nothing),
        EQUIVALENCE,
        _MEMORY,
    ),
    _empirical(
        "memory/measures",
        _LAB,
        "Pixels and probe agree on which arm recalls more.",
        from_memory(memory.measures_agree),
        _TAU,
        _MEMORY,
    ),
    _empirical(
        "memory/first-frame",
        _BRIEF,
        "Keeping the first frame in the context recalls more.",
        from_memory(memory.first_frame_kept),
        CONJUNCTION,
        _MEMORY,
    ),
    _empirical(
        "memory/inverted",
        "the paper, section 3.2",
        "The inverted order, which sees the first frame, recalls more than vanilla with the same levels.",
        from_memory(memory.inverted_recalls_more),
        CONJUNCTION,
        _MEMORY,
    ),
    _empirical(
        "antidrift/step-errors",
        "Meta-ARVDM, arXiv 2503.10704",
        "The sum of per-step errors predicts the drift of a rollout: the arm with more of them drifts more.",
        from_runs(step_errors.sum_predicts_drift),
        _TAU,
        _MEMORY,
    ),
    _empirical(
        "antidrift/trade-off",
        "Meta-ARVDM, arXiv 2503.10704",
        "Forgetting and drift trade off over arms of any settings: the one that recalls more drifts more.",
        from_memory(memory.dilemma_of_settings),
        _TAU,
        _MEMORY,
    ),
    _empirical(
        "table1/best-in-4",
        "the paper, v3, Table 1",
        "Inverted is best in 4 of 7 metrics.",
        runs.best_in(4),
        _COUNT,
    ),
    _empirical(
        "table1/best-in-5",
        "the paper, v1 and v2, and the project's brief",
        "Inverted is best in 5 of 7 metrics.",
        runs.best_in(5),
        _COUNT,
    ),
    _empirical(
        "table1/inverted-dynamic",
        _PAPER1,
        "Inverted has a smaller dynamic range than vanilla.",
        runs.in_dynamic("vanilla", "inverted"),
        CONJUNCTION,
    ),
    _empirical(
        "table1/vanilla-dynamic",
        _PAPER1,
        "Vanilla has the highest dynamic score (here: above endpoint planning too).",
        runs.in_dynamic("vanilla", "endpoint"),
        CONJUNCTION,
    ),
    _empirical(
        "table1/discrete-dynamic",
        _PAPER1,
        "Vanilla with discrete history has a larger dynamic range than inverted.",
        runs.in_dynamic("+D", "inverted"),
        CONJUNCTION,
    ),
    _declared(
        "table1/discrete-votes",
        "Vanilla with discrete history has competitive human scores.",
        "not measured by this lab yet: it needs people's votes",
    ),
    _empirical(
        "table1/order-matters",
        _PAPER1,
        "Differences between configurations of one sampling order are small against those between orders.",
        from_runs(runs.order_matters_more),
        _SPREAD,
    ),
    _empirical(
        "table1/order",
        _PAPER1,
        "The order of arms by drift of clarity.",
        runs.paper_order("table1", "drift_clarity"),
        _ORDER,
    ),
    _empirical(
        "table2/order",
        _PAPER2,
        "The order of architectures by drift of clarity.",
        runs.paper_order("table2", "drift_clarity"),
        _ORDER,
        _TABLE2,
    ),
    _empirical(
        "table2/noise",
        _PAPER2,
        "Noisy history drifts less in clarity the more noise it has in sampling (sigma_test 0, 0.1, 0.5).",
        from_runs(runs.more_noise_less_drift),
        CONJUNCTION,
        _TABLE2,
    ),
    _exact(
        "efficiency/window",
        "the paper, v3",
        "LoRA of the 13B model on 8 A100-80G: a batch of about 64 at windows of 2 or 3 frames, 32 at 4 or 5.",
        exact.batch_by_window,
        "reproduced when the estimate at windows of 3 and 5 is within 25 % of the claimed batch",
    ),
]


def register_claim(claim: Claim) -> Claim:
    """Add a claim of a plugin to those that `fp-lab claims` checks.

    Raises:
        ValueError: another claim has its id, or there is no such kind of claims.
    """
    note_registering(sys._getframe(1).f_globals.get("__name__", ""))
    if claim.kind not in get_args(Kind):
        raise ValueError(
            f"claim {claim.id!r}: kind: got {claim.kind!r}, expected one of {', '.join(get_args(Kind))}"
        )
    if any(known.id == claim.id and known != claim for known in CLAIMS):
        raise ValueError(f"claim: got the id {claim.id!r}, which another claim has; choose another one")
    if claim not in CLAIMS:
        CLAIMS.append(claim)
    return claim
