"""First results of an arm, one line for the terminal as soon as it is scored."""

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from fp_lab.lab.compare.forgetting import read_forgetting
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.scoring.files import ScoresFolder, family_of
from fp_lab.lab.tables.glossary import score_title
from fp_metrics import SCORES

_DRIFT = ".drift"


def result_line(folder: Path) -> str:
    """Describe recall or drift of an arm, from generated history; empty without results.

    In still scenes (worlds curtain and walk): PSNR against the truth of what comes back, and the share of
    objects that are restored, means over videos. Elsewhere: mean |d| of each score of one family.

    Args:
        folder: folder of the arm's scores.
    """
    scores = ScoresFolder(folder)
    if (content := read_json(scores.forgetting)) and (recalled := _recalled(content)):
        return recalled
    figures = scores.headline()
    for family in sorted(dict.fromkeys(map(family_of, figures)), key=lambda name: name != "world"):
        drifts = {score: figures.get(f"{family}/{score}.drift") for score in SCORES}
        known = [f"{score_title(score)} {drift:.3f}" for score, drift in drifts.items() if drift is not None]
        if known:
            return f"drift ({family}): {', '.join(known)}"
    return ""


def _recalled(content: Mapping[str, Any]) -> str:
    videos = [read_forgetting(rows) for rows in content["histories"].get("own", [])]
    psnr = _mean([video.mean("recall", "psnr") for video in videos])
    told = _mean([video.mean("told") for video in videos])
    return "" if math.isnan(psnr) else f"recalled {psnr:.1f} dB, objects restored {told:.0%}"


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan
