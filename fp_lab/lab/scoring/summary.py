"""Summary of an arm from rows per video: means with intervals, drift, noise floor, gap, flags."""

import math
from typing import Any

import numpy as np
import pandas as pd

from fp_lab.lab.scoring.files import clusters, family_of, interval
from fp_lab.lab.scoring.score_video import measures
from fp_metrics import cluster_interval, summarise_drift
from fp_metrics.drift import DriftResult
from fp_metrics.segments import Order as DriftOrder


def drift_results(table: pd.DataFrame, order: DriftOrder = "temporal") -> list[DriftResult]:
    """Return the drift of each row of a videos table."""
    prefix = "drift" if order == "temporal" else "generation_drift"
    return [
        DriftResult(float(row[f"{prefix}_start"]), float(row[f"{prefix}_end"]), 0, order)
        for row in table.to_dict("records")
    ]


def summarise(videos: pd.DataFrame, floor: pd.DataFrame | None = None) -> dict[str, Any]:
    """Summarise the metrics of an arm.

    Args:
        videos: one row per video, estimator and history (see `video_table`).
        floor: rows of the ground-truth videos; None leaves the noise floor out.

    Returns:
        ``estimators`` by name, and ``flags`` by history; numbers, strings and containers only.
    """
    kinds = measures()
    estimators = {}
    for name in dict.fromkeys(videos["estimator"]):
        rows, kind = videos[videos["estimator"] == name], kinds[name]
        truth = None if floor is None else floor[floor["estimator"] == name]
        figures: dict[str, Any] = {
            "score": str(rows["score"].iloc[0]),
            "family": family_of(name),
            "unit": kind.unit,
        }
        figures["higher_is_better"] = kind.higher_is_better
        for history in dict.fromkeys(rows["history"]):
            figures[history] = _history(rows[rows["history"] == history], truth)
        if "exposure_gap" in rows and rows["exposure_gap"].notna().any():
            figures["exposure_gap"] = _gap(rows[rows["history"] == "own"])
        estimators[name] = figures
    return {
        "estimators": estimators,
        "flags": {h: _flags(rows) for h, rows in videos.groupby("history", sort=False)},
    }


def _history(rows: pd.DataFrame, floor: pd.DataFrame | None) -> dict[str, Any]:
    labels = clusters(rows)
    reasons = sorted(
        {str(reason) for column in ("reason", "drift_reason") for reason in rows[column].dropna()}
    )
    figures: dict[str, Any] = {
        "value": interval(cluster_interval(rows["value"].to_numpy(float), labels)),
        "coverage": float(rows["coverage"].fillna(0).mean()),  # no value at all covers nothing
        "undefined": int(rows["value"].isna().sum()),
        "reasons": reasons,
    }
    orders: tuple[DriftOrder, ...] = ("temporal", "generation")
    for order in orders:
        key = "drift" if order == "temporal" else "generation_drift"
        if key not in rows:
            continue
        results = drift_results(rows, order)
        noise = [] if floor is None else drift_results(floor)
        true = None if floor is None else clusters(floor)
        summary = summarise_drift(results, clusters=labels, floor=noise, floor_clusters=true)
        sizes = cluster_interval([result.absolute for result in results], labels)
        figures[key] = {
            "mean_absolute": interval(sizes),
            "absolute_mean": summary.absolute_mean,
            "signed": interval(summary.signed),
            "noise_floor": summary.floor_mean_absolute,
            "undefined": summary.undefined,
        }
    if "drift_given" in rows:
        against = rows["drift_given"].to_numpy(float)
        figures["drift_given"] = {
            "mean_absolute": interval(cluster_interval(np.abs(against), labels)),
            "signed": interval(cluster_interval(against, labels)),
            "undefined": int(np.isnan(against).sum()),
        }
    return figures


def _gap(rows: pd.DataFrame) -> dict[str, Any]:
    by_section = np.array([list(gaps) for gaps in rows["exposure_gaps"]], dtype=np.float64)
    finite = np.isfinite(by_section)
    totals = np.where(finite, by_section, 0).sum(0)
    counts = finite.sum(0)
    means = [float(t / n) if n else math.nan for t, n in zip(totals, counts, strict=True)]
    value = cluster_interval(rows["exposure_gap"].to_numpy(float), clusters(rows))
    return {"value": interval(value), "sections": means}


def _flags(rows: pd.DataFrame) -> dict[str, float]:
    once = rows.drop_duplicates("video")
    return {
        "frozen_share": float(once["frozen"].mean()),
        "looped_share": float(once["loop_period"].notna().mean()),
        "videos": len(once),
    }
