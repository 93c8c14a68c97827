"""Third stage of a run: scores of videos from own and true history, and of the ground truth."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from fp_data.latents import to_frames, to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codecs.protocol import LatentCodec
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.files.run_folder import TRUTH_FOLDER
from fp_lab.lab.files.video_batch import GIVEN, Videos
from fp_lab.lab.planning.flops import strides_of
from fp_lab.lab.runtime.process_pool import Advance, pooled
from fp_lab.lab.runtime.reporter import Reporter
from fp_lab.lab.scoring.files import NOISE_FLOOR, ScoresFolder, frame_table, plain, video_table
from fp_lab.lab.scoring.forgetting import returns_of, truly_shown, write_forgetting
from fp_lab.lab.scoring.given_frames import with_given
from fp_lab.lab.scoring.score_video import VideoRows, measure, spans_of
from fp_lab.lab.scoring.summary import summarise
from fp_lab.lab.scoring.world_truth import follows_one_object, scene_truths, world_truths
from fp_metrics import About, SceneTruth, WorldTruth, protocol

WORLD_ONLY = ("world", "probe")
"""Families for videos of the synthetic world alone, by its truth or by a probe trained on it."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class _Task:
    """One video to score, as it is sent to a process: tensors would travel through shared memory."""

    identity: Mapping[str, Any]
    caption: str
    histories: Mapping[str, Pixels]
    reference: Pixels | None
    sections: tuple[tuple[int, ...], ...]
    families: tuple[str, ...]
    world: WorldConfig | None
    fps: float
    perceptual: bool


def score_run(
    folder: Path,
    config: ExperimentConfig,
    *,
    truth: Path | None = None,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Score the sampled videos of one arm and seed, and write ``scores/`` into its folder.

    Args:
        folder: run folder with ``samples/own.safetensors`` and ``samples/true.safetensors``.
        config: settings of the videos (`data`) and of scoring (`evaluation`).
        truth: folder written by `score_truth`, by default ``truth`` in the grid's folder; without it, the
            noise floor is left out, and for clips PSNR and SSIM too.
        workers: number of processes; None: one per available core. The results do not depend on it.
        reporter: receiver of the number of videos done.

    Returns:
        The summary, as in ``scores/summary.json``.

    Raises:
        ValueError: samples are missing or do not fit together.
    """
    reporter = reporter or Reporter()
    own = Videos.load(folder / "samples" / "own.safetensors")
    true = Videos.load(folder / "samples" / "true.safetensors")
    if own.frames.shape != true.frames.shape or own.seeds != true.seeds or own.order != true.order:
        raise ValueError(
            f"{folder}: own and true samples are of different videos or sections; generate both again"
        )
    truth = folder.parents[1] / TRUTH_FOLDER if truth is None else truth
    references = _references(truth, own)
    tasks = [
        _Task(
            identity=_identity(own, index),
            caption=own.captions[index],
            histories={"own": own.frames[index].numpy(), "true": true.frames[index].numpy()},
            reference=None if references is None else references[index].numpy(),
            sections=own.sections,
            families=applying_families(config),
            world=_world(config, own.length),
            fps=own.fps,
            perceptual=config.evaluation.perceptual,
        )
        for index in range(len(own.seeds))
    ]
    reporter.begin("score", len(tasks))
    floor = _noise_floor(truth)
    further: dict[str, Any] = {"truth": os.path.relpath(truth, folder)} if floor is not None else {}
    return _score(ScoresFolder(folder / "scores"), tasks, own, config, floor, further, workers, reporter)


def score_truth(
    folder: Path,
    videos: Videos,
    config: ExperimentConfig,
    codec: LatentCodec,
    *,
    workers: int | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Score the ground truth of the evaluation set, once per grid: the scores of no drift at all.

    Writes ``samples/raw.safetensors``, ``samples/truth.safetensors`` (through the codec) and ``scores/``.

    Args:
        folder: folder of the ground truth, ``runs/<grid>/truth``.
        videos: evaluation set, in any order.
        config: settings as in `score_run`.
        codec: codec of the round trip: no arm can be better than that.
        workers: number of processes as in `score_run`.
        reporter: receiver as in `score_run`.
    """
    reporter = reporter or Reporter()
    reporter.begin("truth", len(videos.seeds))
    raw = replace(videos, order=(GIVEN,) * videos.length)
    decoded = replace(raw, frames=round_trip(codec, raw.frames))
    raw.save(folder / "samples" / "raw.safetensors")
    decoded.save(folder / "samples" / f"{NOISE_FLOOR}.safetensors")
    tasks = _truth_tasks(raw, decoded, config)
    return _score(ScoresFolder(folder / "scores"), tasks, raw, config, None, {}, workers, reporter)


def measure_truth(videos: Videos, config: ExperimentConfig) -> VideoRows:
    """Score the first true video, and the same one as if decoded, on one thread; nothing is written.

    Args:
        videos: evaluation set.
        config: settings as in `score_run`.
    """
    tasks = _truth_tasks(videos, videos, config)[:1]
    ((_, rows),) = pooled(_measure, tasks, workers=1)
    return rows


def _truth_tasks(raw: Videos, decoded: Videos, config: ExperimentConfig) -> list[_Task]:
    return [
        _Task(
            identity=_identity(raw, index),
            caption=raw.captions[index],
            histories={NOISE_FLOOR: decoded.frames[index].numpy(), "raw": raw.frames[index].numpy()},
            reference=raw.frames[index].numpy(),
            sections=(),
            families=applying_families(config),
            world=_world(config, raw.length),
            fps=raw.fps,
            perceptual=config.evaluation.perceptual,
        )
        for index in range(len(raw.seeds))
    ]


@torch.no_grad()
def round_trip(codec: LatentCodec, frames: Tensor) -> Tensor:
    """Encode and decode uint8 ``b t h w c``, one video at a time."""
    device = next(codec.parameters(), torch.empty(0)).device  # a codec of a plugin may have no weights
    videos = (to_pixels(video).to(device) for video in frames.split(1))
    return torch.cat([to_frames(codec.decode(codec.encode(video))).cpu() for video in videos])


def _score(
    folder: ScoresFolder,
    tasks: Sequence[_Task],
    videos: Videos,
    config: ExperimentConfig,
    floor: pd.DataFrame | None,
    further: Mapping[str, Any],
    workers: int | None,
    reporter: Reporter,
) -> dict[str, Any]:
    frame_rows: list[dict[str, Any]] = []
    video_rows: list[dict[str, Any]] = []
    measured: dict[int, VideoRows] = {}
    for index, rows in pooled(_measure, tasks, workers=workers, preload=(__name__,)):
        measured[index] = rows
        reporter.advance(len(measured))
    for index in range(len(tasks)):
        frame_rows += measured[index].frames
        video_rows += measured[index].videos
    if measured[0].returns:
        returns = [measured[index].returns for index in range(len(tasks))]
        write_forgetting(folder, returns, [task.identity for task in tasks])
    table = video_table(video_rows)
    size: dict[str, float] = {"videos": len(tasks), "frames": videos.length, "height": videos.frames.shape[2]}
    size |= {"width": videos.frames.shape[3], "fps": videos.fps, "stride": strides_of(config).spatial}
    frames = frame_table(frame_rows)
    spans = spans_of(frames["estimator"].unique(), videos.fps)
    if GIVEN in videos.order and set(videos.order) != {GIVEN}:
        size["given"] = videos.order.count(GIVEN)
        table = with_given(table, frames, size, spans)
    figures = {**size, **further, "spans": spans} | summarise(table, floor)
    figures["protocol"] = protocol(applying_families(config)) | {"left_out": left_out(config)}
    summary: dict[str, Any] = plain(figures)
    folder.write(frames, table, summary)
    return summary


def _measure(task: _Task, advance: Advance) -> VideoRows:
    truth, reference = None, None if task.reference is None else torch.from_numpy(task.reference)
    if task.world is not None:
        seed = task.identity["seed"]
        truth = world_truths(task.world, [seed])[0] if "world" in task.families else None
        reference = truth.frames if truth is not None else render(task.world, [seed]).frames[0]
    videos = {history: torch.from_numpy(frames) for history, frames in task.histories.items()}
    rows = measure(
        videos,
        task.identity,
        families=task.families,
        about=About(fps=task.fps, prompt=task.caption, truth=truth),
        reference=reference,
        sections=task.sections,
        perceptual=task.perceptual,
    )
    known: WorldTruth | SceneTruth | None = truth
    if task.world is not None and task.world.still:
        (known,) = scene_truths(task.world, [task.identity["seed"]])
    if known is None or task.world is None or task.world.variant == "plain":  # nothing is ever hidden
        return rows
    returns = {}
    for history, video in videos.items():
        shown = truly_shown(task.sections, len(video), true_history=history == "true")
        returns[history] = returns_of(video, known, shown)
    return replace(rows, returns=returns)


def _identity(videos: Videos, index: int) -> dict[str, Any]:
    return {"video": index, "prompt": videos.prompts[index], "seed": videos.seeds[index]}


def left_out(config: ExperimentConfig) -> dict[str, str]:
    """Families of an experiment that do not apply to its videos, with the reason."""
    if config.data.kind != "world":
        reason = "it knows videos of the synthetic world only"
    elif not follows_one_object(config.data.world):
        reason = f"it follows one moving object, and videos of {config.data.world.variant} show other things"
    else:
        return {}
    return {family: reason for family in config.evaluation.families if family in WORLD_ONLY}


def applying_families(config: ExperimentConfig) -> tuple[str, ...]:
    """Families of an experiment that apply to its videos."""
    unused = left_out(config)
    return tuple(family for family in config.evaluation.families if family not in unused)


def _world(config: ExperimentConfig, frames: int) -> WorldConfig | None:
    return replace(config.data.world, frames=frames) if config.data.kind == "world" else None


def _references(truth: Path, videos: Videos) -> Tensor | None:
    """True videos with the same seeds, uint8 ``b t h w c``, if `score_truth` has stored them."""
    path = truth / "samples" / "raw.safetensors"
    if not path.is_file():
        return None
    raw = Videos.load(path)
    count = len(videos.seeds)  # a tracked checkpoint may have the first ones alone
    if raw.frames[:count].shape != videos.frames.shape or raw.seeds[:count] != videos.seeds:
        raise ValueError(f"{path} is not the ground truth of these samples; sample and score again")
    return raw.frames[:count]


def _noise_floor(truth: Path) -> pd.DataFrame | None:
    scores = ScoresFolder(truth / "scores")
    if not scores.videos.is_file():
        return None
    table = scores.read_videos()
    return table[table["history"] == NOISE_FLOOR]
