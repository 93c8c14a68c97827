"""What comes back in an arm's videos, kept beside its scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from fp_lab.lab.atomic import write_text
from fp_lab.lab.measured import Row, pixels
from fp_lab.lab.summary import clusters, plain
from fp_metrics import WorldTruth
from fp_metrics.forgetting import ForgettingMeter

FORGETTING_FILE = "forgetting.json"


def returns_of(video: Tensor, truth: WorldTruth) -> list[Row]:
    """What comes back in one video, uint8 ``t h w c``."""
    meter = ForgettingMeter(truth)
    for chunk in video.split(64):
        meter.update(pixels(chunk))
    return [asdict(found) for found in meter.compute().returns]


def write_forgetting(
    folder: Path, returns: Sequence[Mapping[str, list[Row]]], identities: Sequence[Mapping[str, Any]]
) -> None:
    """Write ``forgetting.json``: per history and video what came back, and the videos' prompts."""
    histories = {history: [video[history] for video in returns] for history in returns[0]}
    content = {"clusters": clusters(pd.DataFrame(list(identities))), "histories": histories}
    write_text(folder / FORGETTING_FILE, json.dumps(plain(content)) + "\n")
