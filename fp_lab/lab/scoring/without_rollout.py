"""Measures without rollout as scores: a value per video, summarised as estimators are."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fp_lab.lab.files.without_rollout import Measure
from fp_lab.lab.scoring.files import clusters, interval
from fp_metrics import cluster_interval

INFLUENCE, NOISE, STEP_ERROR = "influence", "influence_noise", "step_error"
"""Families of these scores."""
ERRORS: Mapping[str, Measure] = {
    "velocity": "velocity_error",
    "section": "section_error",
    "rollout": "rollout_error",
}
"""Score of family `STEP_ERROR` -> its measure; summed over the sections of a video."""
UNITS = {INFLUENCE: "share of all levels", NOISE: "share of all levels", STEP_ERROR: "latent variance"}


def video_values(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per video and score, with ``estimator``, ``score``, ``family`` and ``value``.

    The influence of a level is a score by the level's name; errors of sections are summed.

    Args:
        table: rows of `fp_lab.lab.files.without_rollout.COLUMNS`, and any columns that identify a run.
    """
    about = [name for name in table.columns if name not in ("measure", "of", "place", "frames", "value")]
    levels = table[table["measure"].isin([INFLUENCE, NOISE])]
    parts = [levels[about].assign(family=levels["measure"], score=levels["of"], value=levels["value"])]
    for score, measure in ERRORS.items():
        own = table[table["measure"] == measure]
        sums = own.groupby(about, sort=False, observed=True, dropna=False)["value"].sum(min_count=1)
        parts.append(sums.reset_index().assign(family=STEP_ERROR, score=score))
    found = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    return found.assign(estimator=found["family"] + "/" + found["score"], value=found["value"].astype(float))


def summarise_without_rollout(table: pd.DataFrame) -> dict[str, Any]:
    """Summarise the measures of a run: name -> mean with its interval over prompts, as plain data."""
    return {
        str(name): interval(cluster_interval(rows["value"].to_numpy(float), clusters(rows)))
        for name, rows in video_values(table).groupby("estimator", sort=False)
    }
