"""How good the shipped probe is on renders and videos that it was not trained on."""

from collections.abc import Sequence

from fp_metrics.networks.probe import shipped_provenance

UNITS = {"error_px": " px off", "error": " off", "accuracy": " %"}
"""How names of figures end, and how their values are written."""


def held_out() -> dict[str, float]:
    """Figures of the shipped probe on held-out renders, by name.

    ``*_accuracy``: share that is right. ``*_error``: mean absolute error (``_px``: in pixels).
    ``identity_auc``: how often two frames of one object are more alike than two of different ones.
    ``damaged/<score>``, ``demo/<score>``, ``generated/<score>``: rank correlation with the truth-based family
    ``world`` over damaged renders, over those with the demo's kinds of damage alone, and over videos of the
    shipped base.
    """
    return {name: float(value) for name, value in shipped_provenance()["held_out"].items()}


def accuracy_of(score: str, names: Sequence[str]) -> str:
    """Some figures and the agreement of a score with the truth-based one, in words."""
    known = held_out()
    parts = [_said(name, known[name]) for name in names]
    agreement = [
        f"{known[f'{kind}/{score}']:.2f} on {int(known[f'{kind}/videos'])} {words}"
        for kind, words in (
            ("demo", "renders damaged as the demo's videos are"),
            ("damaged", "renders with any damage"),
            ("generated", "generated videos"),
        )
        if f"{kind}/{score}" in known
    ]
    renders = f"{', '.join(parts)} on {int(known['renders'])} held-out renders" if parts else ""
    ranks = f"rank correlation with the truth-based score {', '.join(agreement)}" if agreement else ""
    return "; ".join(part for part in (renders, ranks) if part)


def _said(name: str, value: float) -> str:
    for ending, unit in UNITS.items():
        if name.endswith(f"_{ending}"):
            what = name.removesuffix(f"_{ending}").replace("_", " ")
            return f"{what} {100 * value:.0f}{unit}" if ending == "accuracy" else f"{what} {value:.2f}{unit}"
    return f"{name.replace('_', ' ')} {value:.2f}"
