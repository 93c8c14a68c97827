"""Scores on disk: tables of rows with their columns and labels, metrics as plain data."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fp_data.atomic import replacing
from fp_data.damaged import naming_damage
from fp_lab.lab.files.atomic import read_json, write_text
from fp_lab.lab.files.run_folder import digest
from fp_metrics.intervals import Interval

SCORED_AGAIN = "the command that made it scores it again"
"""Advice for a damaged file."""

NOISE_FLOOR = "truth"
"""History label of ground-truth videos after the codec's round trip; ``raw`` for those without."""

COMPANION_FAMILY = "companion"
"""Family of measures against the true continuation, not against what videos should be."""

_FLAG_COLUMNS = {"frozen_from": "Int64", "loop_period": "Int64"}
_NAMES = ("prompt", "file", "group")
_FRAME_COLUMNS = {
    **dict.fromkeys(("estimator", "score", "family"), "object"),
    **{"frame": "int64", "value": "float64", "video": "int64", "prompt": "object", "seed": "int64"},
    **dict.fromkeys(("history", *_NAMES[1:]), "object"),
}
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
    # JSON has None for NaN, and a column of nothing else would hold no numbers
    for column in table.columns[table.isna().all()].difference([*_TEXT_COLUMNS, *_FLAG_COLUMNS, *_NAMES]):
        table[column] = table[column].astype(float)
    return table


def frame_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Build a table with one row per value; with its columns and their types also without any row."""
    table = pd.DataFrame(list(rows), columns=None if rows else list(_FRAME_COLUMNS))
    return table.astype({name: kind for name, kind in _FRAME_COLUMNS.items() if name in table})


@dataclass(frozen=True)
class ScoresFolder:
    """Scores on disk, in one layout: ``summary.json``, ``videos.parquet`` and ``frames.parquet``.

    Runs, checkpoints and ground truths have them in ``scores/``; `fp-lab evaluate` writes the same of any
    videos, with the columns ``file`` and ``group`` in its tables, ``files`` and ``skipped`` in its summary.
    """

    path: Path

    @property
    def summary(self) -> Path:
        """Summary of each estimator, see `fp_lab.lab.scoring.summary`, and the protocol."""
        return self.path / "summary.json"

    @property
    def videos(self) -> Path:
        """Table with one row per video, estimator and history."""
        return self.path / "videos.parquet"

    @property
    def frames(self) -> Path:
        """Table with one row per value."""
        return self.path / "frames.parquet"

    @property
    def forgetting(self) -> Path:
        """What came back in each video; only where something can."""
        return self.path / "forgetting.json"

    def write(self, frames: pd.DataFrame, videos: pd.DataFrame, summary: Mapping[str, Any]) -> None:
        """Write the three files, each in one step, the `plain` summary last; all carry the fingerprint."""
        told = {"fingerprint": fingerprint(summary["protocol"])}
        for file, table in ((self.frames, frames), (self.videos, videos)):
            table.attrs |= told  # kept in the file's own metadata
            with replacing(file) as unfinished:
                table.to_parquet(unfinished, index=False)
        write_text(self.summary, json.dumps({**summary, **told}, indent=2, allow_nan=False) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """Read the summary; empty where there is none.

        Raises:
            ValueError: it is damaged.
        """
        return read_json(self.summary)

    def headline(self) -> dict[str, float]:
        """Select the `headline` of the summary; empty where there is none.

        Raises:
            ValueError: it is damaged.
        """
        with naming_damage(self.summary, SCORED_AGAIN):
            summary = self.read_summary()
            return headline(summary) if summary else {}

    def read_videos(self) -> pd.DataFrame:
        """Read the table of videos.

        Raises:
            ValueError: it is missing or damaged.
        """
        return _table(self.videos)

    def read_frames(self) -> pd.DataFrame:
        """Read the table of values.

        Raises:
            ValueError: it is missing or damaged.
        """
        return _table(self.frames)


def _table(path: Path) -> pd.DataFrame:
    with naming_damage(path, SCORED_AGAIN):
        return pd.read_parquet(path)


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


def fingerprint(protocol: Mapping[str, Any]) -> str:
    """Hash of a protocol without versions and without what was left out, equal for comparable scores."""
    return digest({name: part for name, part in protocol.items() if name not in ("versions", "left_out")})


def headline(summary: Mapping[str, Any], history: str = "own") -> dict[str, float]:
    """Select the metrics that a tracker charts.

    They are named ``world/anatomy`` and such, with ``.drift``, ``.drift_signed``, ``.drift_given``,
    ``.drift_given_signed`` and ``.gap``. Of several estimators of a score the first has that name, as in
    tables; the others have their own, such as ``offline/brisque``.

    ``frozen_share`` is the share of videos that stand still: what does not move does not drift.

    Args:
        summary: summary of a scores folder. Undefined metrics are left out.
        history: history of the videos.
    """
    figures: dict[str, float | None] = {}
    for name, estimator in summary["estimators"].items():
        key = f"{estimator['family']}/{estimator['score']}"
        key = name if key in figures else key
        if own := estimator.get(history):
            figures[key] = own["value"]["mean"]
            figures[f"{key}.drift"] = own["drift"]["mean_absolute"]["mean"]
            figures[f"{key}.drift_signed"] = own["drift"]["signed"]["mean"]
            if "drift_given" in own:
                figures[f"{key}.drift_given"] = own["drift_given"]["mean_absolute"]["mean"]
                figures[f"{key}.drift_given_signed"] = own["drift_given"]["signed"]["mean"]
        if "exposure_gap" in estimator:
            figures[f"{key}.gap"] = estimator["exposure_gap"]["value"]["mean"]
    if history in summary.get("flags", {}):
        figures["frozen_share"] = summary["flags"][history]["frozen_share"]
    return {key: value for key, value in figures.items() if value is not None and math.isfinite(value)}
