"""Files of a scores folder: tables of rows with their columns and labels, metrics as plain data."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fp_data.atomic import replacing
from fp_data.damaged import naming_damage
from fp_lab.lab.files.atomic import read_json, write_text
from fp_metrics.statistics import Interval

FRAMES_FILE = "frames.parquet"
VIDEOS_FILE = "videos.parquet"
SUMMARY_FILE = "summary.json"
FORGETTING_FILE = "forgetting.json"

NOISE_FLOOR = "truth"
"""History label of ground-truth videos after the codec's round trip; ``raw`` for those without."""

COMPANION_FAMILY = "companion"
"""Family of measures against the true continuation, not against what videos should be."""

_FLAG_COLUMNS = {"frozen_from": "Int64", "loop_period": "Int64"}
_TEXT_COLUMNS = ("reason", "seconds_reason", "drift_reason", "generation_drift_reason", "exposure_reason")


def family_of(name: str) -> str:
    """Family whose metrics may share a column with this estimator's."""
    return name.partition("/")[0]


def video_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build a table with one row per video, estimator and history, with fixed column types."""
    table = pd.DataFrame(list(rows))
    table = table.astype(_FLAG_COLUMNS)
    for column in _TEXT_COLUMNS:
        if column in table:
            table[column] = table[column].astype("string")
    return table


def write_tables(
    folder: Path,
    frames: pd.DataFrame,
    videos: pd.DataFrame,
    summary: Mapping[str, Any],
    name: str = SUMMARY_FILE,
) -> None:
    """Write the three files of a scores folder, each in one step, the `plain` summary last."""
    for file, table in ((FRAMES_FILE, frames), (VIDEOS_FILE, videos)):
        with replacing(folder / file) as unfinished:
            table.to_parquet(unfinished, index=False)
    write_text(folder / name, json.dumps(summary, indent=2, allow_nan=False) + "\n")


def clusters(table: pd.DataFrame) -> list[str]:
    """Prompt of each row: its caption, or its seed where that is empty."""
    pairs = zip(table["prompt"], table["seed"], strict=True)
    return [str(prompt) if prompt else f"seed {seed}" for prompt, seed in pairs]


def interval(value: Interval) -> dict[str, Any]:
    """Convert an interval to plain data."""
    return {
        "mean": value.mean,
        "low": value.low,
        "high": value.high,
        "clusters": value.clusters,
        "reliable": value.reliable,
    }


def plain(value: Any) -> Any:
    """Convert containers for JSON: NaN and infinity to null, tuples to lists, numpy numbers to Python's."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def headline_of(path: Path) -> dict[str, float]:
    """Read the `headline` of a summary file; empty where there is none.

    Raises:
        ValueError: the file is damaged.
    """
    with naming_damage(path, "the command that made the run scores it again"):
        return headline(read_json(path)) if path.is_file() else {}


def headline(summary: Mapping[str, Any]) -> dict[str, float]:
    """Select the metrics that a tracker charts.

    They are named ``world/anatomy`` and such, with ``.drift``, ``.drift_signed``, ``.drift_given``,
    ``.drift_given_signed`` and ``.gap``.

    ``frozen_share`` is the share of videos that stand still: what does not move does not drift.

    Args:
        summary: summary as written by `write_tables`. Undefined metrics are left out.
    """
    figures: dict[str, float | None] = {}
    for estimator in summary["estimators"].values():
        key = f"{estimator['family']}/{estimator['score']}"
        own = estimator.get("own") or {}
        if own:
            figures[key] = own["value"]["mean"]
            figures[f"{key}.drift"] = own["drift"]["mean_absolute"]["mean"]
            figures[f"{key}.drift_signed"] = own["drift"]["signed"]["mean"]
            if "drift_given" in own:
                figures[f"{key}.drift_given"] = own["drift_given"]["mean_absolute"]["mean"]
                figures[f"{key}.drift_given_signed"] = own["drift_given"]["signed"]["mean"]
        if "exposure_gap" in estimator:
            figures[f"{key}.gap"] = estimator["exposure_gap"]["value"]["mean"]
    if "own" in summary.get("flags", {}):
        figures["frozen_share"] = summary["flags"]["own"]["frozen_share"]
    return {key: value for key, value in figures.items() if value is not None and math.isfinite(value)}
