"""Forgetting: what comes back in an arm's videos, stored beside its scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from torch import Tensor

from fp_lab.lab.files.atomic import write_text
from fp_lab.lab.scoring.files import ScoresFolder, clusters, plain
from fp_lab.lab.scoring.score_video import Row, pixels
from fp_metrics import SceneTruth, WorldTruth
from fp_metrics.forgetting import ForgettingMeter


def returns_of(
    video: Tensor, truth: WorldTruth | SceneTruth, shown: Sequence[int] | None = None
) -> list[Row]:
    """Measure what comes back in one video, uint8 ``t h w c``; see `ForgettingMeter`."""
    meter = ForgettingMeter(truth, shown)
    for chunk in video.split(64):
        meter.update(pixels(chunk))
    return [asdict(found) for found in meter.compute().returns]


def truly_shown(
    sections: Sequence[Sequence[int]], length: int, *, true_history: bool
) -> tuple[int, ...] | None:
    """Number of leading true frames that each frame was generated from; None for the true video.

    Args:
        sections: frames generated together; frames of no section were given.
        length: number of frames of the video.
        true_history: whether sections were generated from the true frames before them, not the video's own.
    """
    if not sections:
        return None
    given = length - sum(len(section) for section in sections)
    shown = dict.fromkeys(range(length), given)
    for section in sections if true_history else ():
        shown |= dict.fromkeys(section, min(section))
    return tuple(shown.values())


def write_forgetting(
    folder: ScoresFolder, returns: Sequence[Mapping[str, list[Row]]], identities: Sequence[Mapping[str, Any]]
) -> None:
    """Write ``forgetting.json``: what came back per history and video, with the videos' prompts."""
    histories = {history: [video[history] for video in returns] for history in returns[0]}
    content = {"clusters": clusters(pd.DataFrame(list(identities))), "histories": histories}
    write_text(folder.forgetting, json.dumps(plain(content)) + "\n")
