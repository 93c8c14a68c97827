"""Grid folders whose scores are drawn at random, not measured: for tables, verdicts and pages."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fake_runs import VANILLA, experiment, faithful, sample_videos
from fp_lab.lab.config import to_yaml
from fp_lab.lab.files.video_batch import Videos
from fp_lab.lab.scoring.files import ScoresFolder, family_of, video_table
from fp_lab.lab.scoring.score_video import companion_score, measures, spans_of
from fp_metrics import Estimator, protocol

COSTS = (
    '{"training_tflop": 2.5, "step_seconds": 0.5, "tokens_per_second": 4000.0, "frames_per_second": 12.0, '
    '"peak_memory_mib": 700.0}'
)
UNDEFINED = "plain/no-known-shape", "plain/no-caption-attributes"


@dataclass(frozen=True)
class Figures:
    """Scores ``level + slope * time + noise``, time from 0 to 1, less `fall` but in frame 0; still videos."""

    level: float = 0.9
    slope: float = 0.0
    noise: float = 0.02
    gap: float = 0.0
    fall: float = 0.0
    frozen: bool = False


TRUE = Figures(1.0, 0.0, 0.01)


def made_up_grid(
    folder: Path,
    arms: Mapping[str, Figures],
    *,
    videos: int = 16,
    frames: int = 12,
    seeds: Sequence[int] = (0,),
    families: tuple[str, ...] = ("world",),
    truth: Figures = TRUE,
) -> Path:
    """Write a grid folder: samples of ground truth, scores as lab.evaluate writes them, costs."""
    config, floor = experiment(VANILLA, videos, frames, size=16), folder / "truth"
    sampled = sample_videos(config, faithful)
    sampled.save(floor / "samples" / "raw.safetensors")
    _write(floor, sampled, {"truth": truth}, families, 99, {})
    for number, (name, figures) in enumerate(arms.items()):
        arm = replace(config, recipe=name.partition("--")[0])
        sampled = sample_videos(arm, faithful)
        for seed in seeds:
            run = folder / name / f"seed{seed}"
            for history in ("own", "true"):
                sampled.save(run / "samples" / f"{history}.safetensors")
            (run / "efficiency.json").write_text(COSTS)
            (run / "config.yaml").write_text(to_yaml(replace(arm, seed=seed)))
            true = replace(figures, level=figures.level + figures.gap, slope=0.0)
            histories = {"own": figures, "true": true}
            _write(
                run, sampled, histories, families, 100 * seed + number, {"truth": os.path.relpath(floor, run)}
            )
    return folder


def _write(
    folder: Path,
    videos: Videos,
    histories: Mapping[str, Figures],
    families: tuple[str, ...],
    seed: int,
    origin: dict[str, str],
) -> None:
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    frames = []
    for name, kind in measures().items():
        if family_of(name) not in (*families, "companion"):
            continue
        score = kind.score if issubclass(kind, Estimator) else companion_score(name)
        prompts = np.random.default_rng(len(name)).normal(
            0, 0.05, (len(videos.seeds), 1)
        )  # the same in all arms
        for history, figures in histories.items():
            label = {"history": history, "estimator": name, "score": score, "family": family_of(name)}
            values = figures.level + prompts + figures.slope * np.linspace(0, 1, videos.length)
            values = values + random.normal(0, figures.noise, values.shape)
            values[:, 1:] -= figures.fall
            values = np.full_like(values, np.nan) if name in UNDEFINED else values
            rows += [label | row for row in _rows(videos, values, figures, name)]
            frames.append(_frames(videos, values, label))
    height, width = videos.frames.shape[2:4]
    size = {
        "videos": len(videos.seeds),
        "frames": videos.length,
        "height": height,
        "width": width,
        "fps": 8.0,
    }
    told = {
        name: {"unit": kind.unit, "higher_is_better": kind.higher_is_better}
        for name, kind in measures().items()
    }
    summary = size | origin | {"protocol": protocol(families), "estimators": told}
    summary["spans"] = spans_of(told, 8.0)
    summary["flags"] = {
        history: {"frozen_share": float(figures.frozen), "videos": len(videos.seeds)}
        for history, figures in histories.items()
    }
    ScoresFolder(folder / "scores").write(pd.concat(frames), video_table(rows), summary)


def _rows(videos: Videos, values: np.ndarray, figures: Figures, name: str) -> list[dict[str, Any]]:
    n = max(1, int(0.15 * videos.length))
    reason = "needs what is not there" if name in UNDEFINED else None
    rows = []
    for index, series in enumerate(values):
        start, end = float(series[:n].mean()), float(series[-n:].mean())
        row = {"video": index, "prompt": videos.captions[index], "seed": videos.seeds[index]}
        row |= {
            "value": float(series.mean()),
            "coverage": float(np.isfinite(series).mean()),
            "reason": reason,
        }
        row |= {"drift_start": start, "drift_end": end, "drift": end - start, "drift_reason": reason}
        gap = figures.gap + float(series[0] - series.mean()) if reason is None else float("nan")
        row |= {"exposure_gap": gap, "exposure_gaps": [gap, gap], "exposure_reason": reason}
        row |= {"frozen": figures.frozen, "frozen_share": float(figures.frozen)}
        rows.append(row | {"frozen_from": None, "loop_period": None})
    return rows


def _frames(videos: Videos, values: np.ndarray, label: dict[str, str]) -> pd.DataFrame:
    count, length = values.shape
    table = pd.DataFrame(
        {"video": np.repeat(np.arange(count), length), "frame": np.tile(np.arange(length), count)}
    )
    table["prompt"] = np.repeat(videos.captions, length)
    table["seed"] = np.repeat(videos.seeds, length)
    return table.assign(value=values.ravel(), **label)
