"""Recall of returning content by each arm, for the verdict and the claims about memory."""

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
import pandas as pd

from fp_lab.lab.compare.contrasts import Contrast, adjust, contrasts
from fp_lab.lab.compare.forgetting import kinds_of, read_forgetting
from fp_lab.lab.compare.paired_values import Panel, Panels
from fp_lab.lab.results.arms import Arm
from fp_lab.lab.results.gather import Gathered
from fp_lab.lab.scoring.files import NOISE_FLOOR
from fp_metrics.returns import OPEN, Kind

EVERY_GAP = range(1, OPEN)


@lru_cache(maxsize=8)
def recall(
    gathered: Gathered,
    gaps: range,
    history: str = "true",
    *,
    by_probe: bool = False,
) -> Panel:
    """Return the PSNR in dB of what comes back after given gaps, against the truth; NaN where nothing does.

    Args:
        gathered: scores of the runs.
        gaps: gaps in frames.
        history: history that videos were generated from, ``true`` or ``own``.
        by_probe: whether to return the share of restored objects by the probe instead.
    """
    kind: Kind = "told" if by_probe else "recall"
    figure: Literal["agreement", "psnr"] = "agreement" if by_probe else "psnr"
    rows = [
        {
            "arm": arm,
            "training_seed": training,
            "prompt": prompt,
            "seed": index,
            "estimator": "recall",
            "value": read_forgetting(video).mean(kind, figure, gaps),
            "reason": "nothing comes back",
        }
        for arm, runs in gathered.returned.items()
        if arm != NOISE_FLOOR
        for training, content in runs
        for index, (prompt, video) in enumerate(
            zip(content["clusters"], content["histories"].get(history, []), strict=False)
        )
    ]
    return Panels(pd.DataFrame(rows), gathered.basis).panel("recall", "value")


def memory_verdict(gathered: Gathered) -> tuple[str, tuple[Contrast, ...]]:
    """Test which arms recall more than others, from true history.

    Returns:
        Arms in order of recall, and paired differences between all of them, corrected by Holm; empty with
        fewer than two arms with returns.
    """
    if "recall" not in kinds_of(gathered):
        return "", ()
    panel = recall(gathered, EVERY_GAP)
    means = {arm: _mean(panel, arm) for arm in gathered.arms if arm.name in panel.rows}
    ranked = sorted((arm for arm in means if np.isfinite(means[arm])), key=lambda arm: -means[arm])
    if len(ranked) < 2:
        return "", ()
    pairs = list(combinations([arm.name for arm in ranked], 2))
    made = adjust(contrasts(panel, pairs, "recall"))
    told = {(c.first, c.second) for c in made if c.significant and c.difference.mean > 0}
    return _told(ranked, means, told, len(made)), tuple(made)


def _mean(panel: Panel, arm: Arm) -> float:
    values = panel.by_prompt(panel.of([arm.name]))
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _told(
    ranked: Sequence[Arm], means: dict[Arm, float], told: Collection[tuple[str, str]], pairs: int
) -> str:
    parts = [f"“{ranked[0].label}” {means[ranked[0]]:.1f}"]
    for one, other in pairwise(ranked):
        sign = ">" if (one.name, other.name) in told else "="
        parts.append(f"{sign} “{other.label}” {means[other]:.1f}")
    return (
        "Recall of what comes back into view (PSNR against the truth in dB, true history, i.e. teacher "
        "forcing): "
        f"{' '.join(parts)}; > survives Holm's correction at 5 % over {pairs} paired differences, = does not."
    )
