"""The line that a terminal shows of an arm as soon as it is scored."""

import json
from pathlib import Path
from typing import Any

from fp_lab.lab.grids.result_line import result_line


def estimator(family: str, score: str, drift: float | None) -> dict[str, Any]:
    own = {"value": {"mean": 0.5}, "drift": {"mean_absolute": {"mean": drift}, "signed": {"mean": drift}}}
    return {"family": family, "score": score, "own": own}


def write(folder: Path, **estimators: dict[str, Any]) -> Path:
    (folder / "summary.json").write_text(json.dumps({"estimators": estimators}))
    return folder


def came_back(kind: str, agreement: float, psnr: float | None, gap: int = 9) -> dict[str, Any]:
    return {"kind": kind, "gap": gap, "agreement": agreement, "psnr": psnr, "weight": 1.0, "reason": None}


def test_drift_of_the_world_comes_before_that_of_other_families(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=estimator("plain", "clarity", 0.9),
        b=estimator("world", "clarity", 0.25),
        c=estimator("world", "motion", None),
        d=estimator("world", "anatomy", 0.5),
    )
    assert result_line(tmp_path) == "drift (world): clarity 0.250, shape 0.500"
    write(tmp_path, a=estimator("plain", "clarity", 0.9), b=estimator("world", "clarity", None))
    assert result_line(tmp_path) == "drift (plain): clarity 0.900"


def test_still_scenes_are_told_by_what_they_recall_from_own_history(tmp_path: Path) -> None:
    own = [
        [came_back("recall", 0.9, 20.0), came_back("told", 1.0, None)],
        [came_back("recall", 0.5, 10.0), came_back("told", 0.0, None), came_back("recall", 1.0, 99.0, 0)],
        [],  # nothing came back
    ]
    content = {"clusters": ["a", "b", "c"], "histories": {"own": own, "true": []}}
    (tmp_path / "forgetting.json").write_text(json.dumps(content))
    write(tmp_path, a=estimator("plain", "clarity", 0.9))
    assert result_line(tmp_path) == "recalled 15.0 dB, objects restored 50%"


def test_worlds_with_moving_objects_and_arms_without_figures(tmp_path: Path) -> None:
    assert result_line(tmp_path) == ""
    content = {"clusters": ["a"], "histories": {"own": [[came_back("object", 0.5, 9.0)]]}}
    (tmp_path / "forgetting.json").write_text(json.dumps(content))
    assert result_line(write(tmp_path, a=estimator("plain", "clarity", 0.9))).startswith("drift (plain)")
