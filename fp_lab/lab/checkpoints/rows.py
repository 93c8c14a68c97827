"""Scores of a run's checkpoints as one tidy table, ``tracked.parquet`` in the run's folder."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fp_data.atomic import replacing
from fp_data.damaged import naming_damage
from fp_lab.lab.files.run_folder import RunFolder, digest
from fp_lab.lab.files.without_rollout import read_rows, steps_file
from fp_lab.lab.scoring.files import NOISE_FLOOR, SCORED_AGAIN, ScoresFolder
from fp_lab.lab.scoring.without_rollout import STEP_ERROR, UNITS, summarise_without_rollout, video_values
from fp_lab.lab.training.checkpoints import Checkpoint, tracked_path

COLUMNS = (
    *("step", "estimator", "score", "family", "unit", "higher_is_better"),
    *("value", "value_low", "value_high"),
    *("drift", "drift_low", "drift_high", "drift_floor"),
    *("drift_signed", "drift_signed_low", "drift_signed_high"),
    *("gap", "gap_low", "gap_high"),
    *("videos", "reliable", "protocol", "model_sha256"),
)
"""Columns of the table. Drift is mean |d|, its floor that of the ground truth, gap the exposure-bias gap;
bounds are those of 95 % intervals; ``protocol`` is equal for comparable values; undefined values are NaN."""


def write_tracked(run: RunFolder, scored: Sequence[Checkpoint], truth: Path | None) -> pd.DataFrame:
    """Write the table of some scored checkpoints, one row per step and estimator, and return it.

    Args:
        run: folder of the run.
        scored: scored checkpoints.
        truth: folder of the scored ground truth; None leaves the noise floor out.
    """
    floors = {} if truth is None else _floors(truth)
    rows = [
        row | {"drift_floor": floors.get(row["estimator"], math.nan)}
        for checkpoint in scored
        for row in _rows(checkpoint)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("step", ignore_index=True, kind="stable")
    with replacing(tracked_path(run)) as unfinished:
        table.to_parquet(unfinished, index=False)
    return table


def tracked_videos(scored: Sequence[Checkpoint]) -> pd.DataFrame:
    """Load one row per step, estimator and video from own history, the basis of intervals and comparisons.

    Measures without rollout are estimators too.
    """
    tables = []
    for checkpoint in scored:
        videos = ScoresFolder(checkpoint.scores).read_videos()
        steps = video_values(read_rows(steps_file(checkpoint)))
        own = [videos[videos["history"] == "own"], *([steps] if len(steps) else [])]
        tables += [part.assign(step=checkpoint.step) for part in own]
    return pd.concat(tables, ignore_index=True)


def _floors(truth: Path) -> dict[str, float]:
    """Mean |d| of the ground-truth videos, by estimator."""
    videos = ScoresFolder(truth / "scores").read_videos()
    videos = videos[videos["history"] == NOISE_FLOOR]
    return dict(videos["drift"].astype(float).abs().groupby(videos["estimator"]).mean())


def _rows(checkpoint: Checkpoint) -> list[dict[str, Any]]:
    scores = ScoresFolder(checkpoint.scores)
    with naming_damage(scores.summary, SCORED_AGAIN):
        summary = scores.read_summary()
        shared = {
            "step": checkpoint.step,
            "videos": int(summary["videos"]),
            "protocol": _protocol(summary),
            "model_sha256": checkpoint.sha256,
        }
        steps = summarise_without_rollout(read_rows(steps_file(checkpoint))).items()
        rows = [_row(name, told) for name, told in summary["estimators"].items()]
        rows += [_row_without_rollout(name, found) for name, found in steps]
        return [row | shared for row in rows]


def _row(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    own = told["own"]
    row = {"estimator": name, **{key: told[key] for key in ("score", "family", "unit", "higher_is_better")}}
    row |= _bounds("value", own["value"]) | _bounds("drift", own["drift"]["mean_absolute"])
    row |= _bounds("drift_signed", own["drift"]["signed"])
    row |= {"reliable": own["value"]["reliable"]}
    return row | _bounds("gap", told.get("exposure_gap", {}).get("value", {}))


def _row_without_rollout(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    family, _, score = name.partition("/")
    row: dict[str, Any] = {"estimator": name, "score": score, "family": family, "unit": UNITS[family]}
    undefined = {column: _bounds(column, {}) for column in ("drift", "drift_signed", "gap")}
    row |= {"higher_is_better": False if family == STEP_ERROR else None, "reliable": found["reliable"]}
    return row | _bounds("value", found) | {k: v for own in undefined.values() for k, v in own.items()}


def _bounds(column: str, interval: Mapping[str, Any]) -> dict[str, float]:
    names = {"mean": column, "low": f"{column}_low", "high": f"{column}_high"}
    return {name: _number(interval.get(key)) for key, name in names.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _protocol(summary: Mapping[str, Any]) -> str:
    """Hash of the protocol, equal for values that may share a plot."""
    how = {key: summary["protocol"][key] for key in ("protocol", "segments", "estimators")}
    what = {key: summary[key] for key in ("videos", "frames", "height", "width")}
    return digest({"how": how, "what": what})[:12]
