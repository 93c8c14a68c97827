"""Run folders without any model: renders of the world, spoilt in known ways."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fp_data.worlds import World, WorldConfig, render
from fp_lab.codec import Codec, CodecConfig
from fp_lab.lab.config import DataConfig, EvaluationConfig, ExperimentConfig
from fp_lab.lab.evaluate import TRUTH_FOLDER, score_run, score_truth
from fp_lab.lab.measured import companion_score
from fp_lab.lab.summary import family_of, measures, summarise, video_table, write_tables
from fp_lab.lab.videos import GIVEN, Videos
from fp_lab.orders import plan
from fp_lab.recipe import parse
from fp_metrics import Estimator, protocol

VANILLA = "td_f8k8f4k4f2k2f1k1_g5"
INVERTED = "f1k1_x_g5_f1k1f2k2f4k4f8k8_td"
CONTROL = "g5"

Spoil = Callable[[World], Tensor]
"""World -> uint8 ``b t h w c``."""


class PerfectCodec(Codec):
    """Pixels are latents: nothing is lost."""

    def __init__(self) -> None:
        super().__init__(CodecConfig(channels=(8, 8), encoder_layers=(1, 1), decoder_layers=(1, 1)))

    def encode(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def faithful(world: World) -> Tensor:
    return world.frames


def vanishing(world: World) -> Tensor:
    """The object is gone from the middle of the video on."""
    middle = world.frames.shape[1] // 2
    backgrounds = world.backgrounds.expand_as(world.frames)
    return torch.cat((world.frames[:, :middle], backgrounds[:, middle:]), 1)


def noise(world: World) -> Tensor:
    """Every frame but the given one is noise."""
    random = torch.randint(
        0, 256, world.frames.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    return torch.cat((world.frames[:, :1], random[:, 1:]), 1)


def experiment(recipe: str, videos: int = 4, frames: int = 21, size: int = 32) -> ExperimentConfig:
    """A tiny experiment on the synthetic world."""
    return ExperimentConfig(
        recipe,
        data=DataConfig(world=WorldConfig(size=size, frames=frames)),
        evaluation=EvaluationConfig(videos=videos, frames=frames, fps=8.0),
    )


def sample_videos(config: ExperimentConfig, spoil: Spoil) -> Videos:
    """What an arm would have sampled."""
    evaluation = config.evaluation
    world = render(replace(config.data.world, frames=evaluation.frames), evaluation.seeds)
    order = [GIVEN] * evaluation.frames
    for index, section in enumerate(plan(parse(config.recipe), evaluation.frames)):
        for frame in section.targets:
            order[frame] = index
    seeds = tuple(evaluation.seeds)
    return Videos(spoil(world), world.captions, seeds, tuple(order), evaluation.fps)


def fake_run(folder: Path, config: ExperimentConfig, own: Spoil, true: Spoil = faithful) -> None:
    """Samples and efficiency of one arm and seed, as lab.run leaves them."""
    sample_videos(config, own).save(folder / "samples" / "own.safetensors")
    sample_videos(config, true).save(folder / "samples" / "true.safetensors")
    figures = {
        "step_seconds": 0.5,
        "tokens_per_second": 4000.0,
        "frames_per_second": 12.0,
        "peak_memory_mib": 700.0,
    }
    (folder / "efficiency.json").write_text(json.dumps(figures))


def fake_grid(
    folder: Path, arms: Mapping[str, Spoil], *, seeds: Sequence[int] = (0,), videos: int = 4
) -> Path:
    """A grid folder with ground truth and scored arms."""
    config = experiment(VANILLA, videos)
    truth = folder / TRUTH_FOLDER
    score_truth(truth, sample_videos(config, faithful), config, PerfectCodec(), workers=1)
    for recipe, spoil in arms.items():
        for seed in seeds:
            run = folder / recipe / f"seed{seed}"
            config = replace(experiment(recipe, videos), seed=seed)
            fake_run(run, config, spoil)
            score_run(run, config, workers=1)
    return folder


@dataclass(frozen=True)
class Figures:
    """Made-up scores of an arm: ``level + slope * time + noise``, time from 0 to 1."""

    level: float = 0.9
    slope: float = 0.0
    noise: float = 0.02
    gap: float = 0.0
    undefined: tuple[str, ...] = ("plain/no-caption-attributes", "plain/no-known-shape")


def made_up_grid(
    folder: Path,
    arms: Mapping[str, Figures],
    *,
    videos: int = 16,
    frames: int = 21,
    seeds: Sequence[int] = (0,),
    families: tuple[str, ...] = ("plain", "world"),
    size: int = 16,
) -> Path:
    """A grid folder whose scores are drawn at random, not measured: for tables, verdicts, pages."""
    truth = folder / TRUTH_FOLDER
    config = replace(
        experiment(VANILLA, videos, frames), evaluation=EvaluationConfig(videos, frames, fps=8.0)
    )
    config = replace(config, data=DataConfig(world=WorldConfig(size=size, frames=frames)))
    sample_videos(config, faithful).save(truth / "samples" / "raw.safetensors")
    _write_scores(
        truth, {"truth": Figures(1.0, 0.0, 0.01), "raw": Figures(1.0, 0.0, 0.01)}, config, families, 99, None
    )
    for number, (name, figures) in enumerate(arms.items()):
        for seed in seeds:
            run = folder / name / f"seed{seed}"
            arm = replace(config, recipe=name.partition("--")[0], seed=seed)
            fake_run(run, arm, faithful)
            better = replace(figures, level=figures.level + figures.gap, slope=0.0)
            _write_scores(run, {"own": figures, "true": better}, arm, families, 100 * seed + number, truth)
    return folder


def _write_scores(
    folder: Path,
    histories: Mapping[str, Figures],
    config: ExperimentConfig,
    families: tuple[str, ...],
    seed: int,
    truth: Path | None,
) -> None:
    """``scores/`` as lab.evaluate writes it, from made-up figures."""
    random = np.random.default_rng(seed)
    videos = sample_videos(config, faithful)
    kinds = {name: kind for name, kind in measures().items() if family_of(name) in (*families, "companion")}
    time = np.linspace(0, 1, videos.length)
    frame_rows, video_rows = [], []
    for history, figures in histories.items():
        for name, kind in kinds.items():
            score = kind.score if issubclass(kind, Estimator) else companion_score(name)
            label = {"estimator": name, "score": score, "family": family_of(name)}
            offsets = np.random.default_rng(len(name)).normal(
                0, 0.05, len(videos.seeds)
            )  # what prompts have in common
            for index, offset in enumerate(offsets):
                known = {
                    "video": index,
                    "prompt": videos.captions[index],
                    "seed": videos.seeds[index],
                    "history": history,
                }
                values = (
                    figures.level
                    + offset
                    + figures.slope * time
                    + random.normal(0, figures.noise, videos.length)
                )
                values = np.full_like(values, np.nan) if name in figures.undefined else values
                reason = "needs what is not there" if name in figures.undefined else None
                n = max(1, int(0.15 * videos.length))
                start, end = float(values[:n].mean()), float(values[-n:].mean())
                row = (
                    known
                    | label
                    | {"value": float(values.mean()), "coverage": float(np.isfinite(values).mean())}
                )
                row |= {
                    "reason": reason,
                    "drift_start": start,
                    "drift_end": end,
                    "drift": end - start,
                    "drift_reason": reason,
                }
                row |= {"frozen": False, "frozen_share": 0.0, "frozen_from": None, "loop_period": None}
                if history == "own":
                    gap = float("nan") if reason else figures.gap + float(random.normal(0, figures.noise))
                    row |= {"exposure_gap": gap, "exposure_gaps": [gap, gap], "exposure_reason": reason}
                video_rows.append(row)
                frame_rows += [known | label | {"frame": f, "value": float(v)} for f, v in enumerate(values)]
    table = video_table(video_rows)
    summary = {"videos": len(videos.seeds), "frames": videos.length, "height": videos.frames.shape[2]}
    summary |= {"width": videos.frames.shape[3], "fps": videos.fps}
    summary |= {"truth": os.path.relpath(truth, folder)} if truth else {}
    write_tables(
        folder / "scores",
        pd.DataFrame(frame_rows),
        table,
        summary | summarise(table) | {"protocol": protocol(families)},
    )
