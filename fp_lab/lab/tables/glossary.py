"""Glossary: plain words for the short keys of scores, families, histories and returns into view."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fp_metrics.returns import Kind


@dataclass(frozen=True)
class Term:
    """Explanation of a key in plain words.

    Attributes:
        title: heading of columns and panels.
        meaning: what a high value says, in a few words.
    """

    title: str
    meaning: str


SCORES: Mapping[str, Term] = {
    "clarity": Term("clarity", "sharp, without noise"),
    "aesthetic": Term("aesthetic", "pleasant colours and contrast"),
    "motion": Term("motion smoothness", "movement without jerks"),
    "dynamic": Term("amount of motion", "much moves, or as fast as asked"),
    "semantic": Term("caption match", "shows what the caption says"),
    "anatomy": Term("shape", "bodies and objects well formed"),
    "identity": Term("identity", "same look as in the first frame"),
    "psnr": Term("PSNR", "close to the true video, in dB"),
    "ssim": Term("SSIM", "same structure as the true video"),
    "lpips": Term("LPIPS", "perceptual distance to the true video"),
    "st-lpips": Term("ST-LPIPS", "LPIPS that tolerates small shifts"),
}
"""Scores by their key in config files, stored results and MLflow; the paper has the same seven keys."""

FAMILIES: Mapping[str, str] = {
    "world": "against the synthetic world's exact truth",
    "probe": "read by a small network that does not know the truth",
    "offline": "learned estimators from ordinary packages",
    "paper": "the paper's estimators",
    "plain": "weight-free measures for any video",
    "companion": "against the true continuation",
}
"""Families of estimators, each with what its estimators have in common."""

DIRECTIONS: Mapping[bool | None, str] = {True: "higher", False: "lower", None: "neither"}
"""Better direction of a score, by its `higher_is_better`."""
ARROWS: Mapping[bool | None, str] = {True: " ↑", False: " ↓", None: ""}
"""Better direction of a score, after its title."""

HISTORIES: Mapping[str, str] = {"own": "generated history", "true": "true history"}
"""Histories that sections are generated from, in short."""

HISTORIES_IN_FULL: Mapping[str, str] = {
    "own": "generated history (rollout)",
    "true": "true history (teacher forcing)",
}
"""Histories in full, for the first mention on a page or figure."""

RETURNS: Mapping[Kind, Term] = {
    "object": Term("hidden object comes back", "likeness to its last look, 0 to 1"),
    "place": Term("hidden place comes back", "SSIM with its last look"),
    "recall": Term("recall of hidden places", "PSNR against the truth, dB"),
    "told": Term("hidden objects restored", "share with right shape, colour, texture"),
}
"""Kinds of things that come back into view; the meaning is how they are measured."""


def score_title(score: str) -> str:
    """Title of a score; the key itself where it is not in `SCORES`."""
    return SCORES[score].title if score in SCORES else score


def score_meanings(scores: Iterable[str]) -> str:
    """Explain some scores in one line, with the key of those that have another title."""
    known = [(score, SCORES[score]) for score in scores if score in SCORES]
    parts = [
        f"{term.title}{'' if term.title.lower() == score else f' (key: {score})'}: {term.meaning}"
        for score, term in known
    ]
    return f"What is scored: {'; '.join(parts)}." if parts else ""


def family_title(family: str) -> str:
    """Title of a family in plain words, with its key."""
    return f"{FAMILIES[family]} (family {family})" if family in FAMILIES else f"family {family}"
