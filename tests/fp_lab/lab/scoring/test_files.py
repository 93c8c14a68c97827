"""What trackers show of a summary."""

from pathlib import Path
from typing import Any

import pandas as pd

from fp_lab.lab.scoring.files import headline, video_table
from fp_lab.lab.tracking.log_run import checkpoints_of

NIQE, BRISQUE = "offline/niqe", "offline/brisque"


def estimator(value: float) -> dict[str, Any]:
    drift = {"mean_absolute": {"mean": value / 2}, "signed": {"mean": -value / 2}}
    return {"family": "offline", "score": "clarity", "own": {"value": {"mean": value}, "drift": drift}}


def test_of_several_estimators_of_a_score_the_first_stands_for_it(tmp_path: Path) -> None:
    """As in the tables of `fp-lab compare`; both are `clarity` of one family."""
    found = headline({"estimators": {NIQE: estimator(0.5), BRISQUE: estimator(30.0)}})
    assert found == {
        **{"offline/clarity": 0.5, "offline/clarity.drift": 0.25, "offline/clarity.drift_signed": -0.25},
        **{BRISQUE: 30.0},
        **{"offline/brisque.drift": 15.0, "offline/brisque.drift_signed": -15.0},
    }
    rows = [
        {"step": 2, "estimator": name, "family": "offline", "score": "clarity"}
        | {"value": value, "drift": value / 2, "gap": float("nan")}
        for name, value in ((NIQE, 0.5), (BRISQUE, 30.0))
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "tracked.parquet")
    shown = checkpoints_of(tmp_path / "tracked.parquet")[2]
    assert (shown["track/offline/clarity"], shown["track/offline/brisque"]) == (0.5, 30.0)


def test_a_score_that_no_video_has_is_a_column_of_numbers_all_the_same() -> None:
    row = {
        "estimator": "mine/nothing",
        "prompt": "a ball",
        "value": None,
        "drift_start": None,
        "reason": "none",
    }
    flags = {"frozen_from": None, "loop_period": None}
    table = video_table([row | flags, row | flags])
    assert table["value"].isna().all()
    assert [str(table[name].dtype) for name in ("value", "drift_start")] == ["float64", "float64"]
