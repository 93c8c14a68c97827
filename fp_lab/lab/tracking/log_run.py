"""Logging of run folders to MLflow."""

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

from fp_data.damaged import naming_damage
from fp_lab.lab.files.atomic import read_json
from fp_lab.lab.files.run_folder import RunFolder, digest
from fp_lab.lab.files.without_rollout import read_rows, steps_file
from fp_lab.lab.results.efficiency import recorded_efficiency
from fp_lab.lab.scoring.files import ScoresFolder
from fp_lab.lab.scoring.without_rollout import summarise_without_rollout
from fp_lab.lab.tracking import CHECKPOINTS_TAG, RESULTS_TAG, WITHOUT_ROLLOUT_TAG, TrackedRun
from fp_lab.lab.training.checkpoints import checkpoints, tracked_path
from fp_lab.weights.files import WEIGHTS_FILE, file_sha256


def mirror(place: RunFolder, tracked: TrackedRun, key: str) -> None:
    """Send steps, metrics, tags and files of an up-to-date run, unless they were sent before.

    Args:
        place: folder of the run.
        tracked: its run in MLflow.
        key: key of its last stage.

    Raises:
        Unreachable: MLflow does not answer; call it again later.
    """
    tracked.opened()
    known = tracked.has(RESULTS_TAG, key)
    for folder, files in shown_files(place).items():
        (tracked.log_missing_files if known else tracked.log_files)(files, folder)
    mirror_additions(place, tracked)
    if known:
        return
    tracked.log_steps(steps_of(place.loss))
    with naming_damage(place.provenance):
        tags = tags_of(read_json(place.provenance))
    tracked.log_tags(tags | weights_tags(place.model / WEIGHTS_FILE))
    figures = {f"recorded/{name}": value for name, value in read_json(place.efficiency).items()}
    figures |= {f"codebook/{name}": value for name, value in read_json(place.codebook).items()}
    figures |= {f"efficiency/{name}": value for name, value in recorded_efficiency(place).items()}
    tracked.log_figures(figures | ScoresFolder(place.scores).headline())
    tracked.mark(RESULTS_TAG, key)


def mirror_additions(place: RunFolder, tracked: TrackedRun) -> None:
    """Send what may be made after a run is finished, unless it was sent before.

    These are scores and drift of its checkpoints by training step, and its measures without rollout, named
    ``influence/f2k2``, ``step_error/section`` and such.

    Raises:
        Unreachable: MLflow does not answer; call it again later.
    """
    tracked.opened()
    measured = without_rollout_key(place)
    if measured and not tracked.has(WITHOUT_ROLLOUT_TAG, measured):
        summary = summarise_without_rollout(read_rows(steps_file(place)))
        tracked.log_figures(
            {name: found["mean"] for name, found in summary.items() if found["mean"] is not None}
        )
        tracked.mark(WITHOUT_ROLLOUT_TAG, measured)
    state = checkpoints_key(place)
    if state and not tracked.has(CHECKPOINTS_TAG, state):
        for step, found in checkpoints_of(tracked_path(place)).items():
            tracked.log_figures(found, step)
        tracked.mark(CHECKPOINTS_TAG, state)


def checkpoints_key(place: RunFolder) -> str:
    """Key of the scores of a run's checkpoints; empty without any."""
    shown = checkpoints_of(tracked_path(place))
    return digest({"checkpoints": {str(step): figures for step, figures in shown.items()}}) if shown else ""


def without_rollout_key(place: RunFolder) -> str:
    """Key of a run's measures without rollout; empty without any, and where their record is damaged."""
    with suppress(ValueError):
        return str(place.record_of("without_rollout").get("key", ""))
    return ""


def shown_files(place: RunFolder) -> dict[str, list[Path]]:
    """Files of a run that MLflow shows, by artifact folder."""
    files = {
        "": [file for file in (place.config, place.provenance) if file.is_file()],
        "scores": [place.summary] if place.summary.is_file() else [],
        "samples": sorted(place.samples.glob("*.mp4")),
    }
    for checkpoint in checkpoints(place):
        if checkpoint.has_weights:
            kept = sorted(file for file in checkpoint.model.iterdir() if file.is_file())
            files[f"checkpoints/{checkpoint.path.name}"] = kept
    return files


def steps_of(table: Path) -> dict[int, dict[str, float]]:
    """Metrics of each training step, by step."""
    steps = pd.read_parquet(table)
    columns = [name for name in steps.columns if name != "step"]
    return {
        int(row["step"]): {name: float(row[name]) for name in columns if math.isfinite(row[name])}
        for row in steps.to_dict("records")
    }


def checkpoints_of(table: Path) -> dict[int, dict[str, float]]:
    """Scores and drift of the checkpoints of a run, by training step; named ``track/world/clarity.drift``."""
    if not table.is_file():
        return {}
    found: dict[int, dict[str, float]] = {}
    for row in pd.read_parquet(table).to_dict("records"):
        known = found.setdefault(int(row["step"]), {})
        key = f"track/{row['family']}/{row['score']}"
        key = f"track/{row['estimator']}" if key in known else key  # of several of a score the first counts
        figures = {key: row["value"], f"{key}.drift": row["drift"], f"{key}.gap": row["gap"]}
        known |= {name: float(value) for name, value in figures.items()}
    return found


def tags_of(made_with: Mapping[str, Any]) -> dict[str, str]:
    """Tags to search runs by: commit, machine, weights, data, protocol."""
    first = made_with.get("train", {})
    tags = {f"weights.{name}": sha256 for name, sha256 in first.get("weights", {}).items()}
    if git := first.get("git"):
        tags |= {"mlflow.source.git.commit": git["commit"], "git.changed": str(bool(git["changed"])).lower()}
    if machine := first.get("environment"):
        tags |= {"machine": machine["processor"], "torch": str(machine["versions"]["torch"])}
    tags |= {"data": first["data"]} if "data" in first else {}
    protocol = made_with.get("score", {}).get("protocol")
    return tags | ({"protocol": protocol} if protocol else {})


def weights_tags(path: Path) -> dict[str, str]:
    """sha256 of a trained model, and of the codebook in it where its history is discrete."""
    tags = {"weights.model": file_sha256(path)}
    with safe_open(path, "np") as file:
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            if name.endswith("codebook.centroids"):
                tags["codebook"] = hashlib.sha256(file.get_tensor(name).tobytes()).hexdigest()
    return tags
