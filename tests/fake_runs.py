"""Run folders without any model: renders of the world, spoilt in known ways."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fp_data.worlds import World, WorldConfig, render
from fp_lab.codecs.tiny import Codec, CodecConfig
from fp_lab.lab.config import DataConfig, EvaluationConfig, ExperimentConfig
from fp_lab.lab.files.run_folder import TRUTH_FOLDER
from fp_lab.lab.files.video_batch import GIVEN, Videos
from fp_lab.lab.scoring.score_run import score_run, score_truth
from fp_lab.recipe import parse
from fp_lab.recipe.orders import plan

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


def repainting(world: World) -> Tensor:
    """The second half shows other colours: nothing looks as it did before it was hidden."""
    middle = world.frames.shape[1] // 2
    return torch.cat((world.frames[:, :middle], world.frames[:, middle:].flip(-1)), 1)


def noise(world: World) -> Tensor:
    """Every frame but the given one is noise."""
    random = torch.randint(
        0, 256, world.frames.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    return torch.cat((world.frames[:, :1], random[:, 1:]), 1)


def experiment(
    recipe: str, videos: int = 4, frames: int = 21, size: int = 32, world: WorldConfig | None = None
) -> ExperimentConfig:
    """A tiny experiment on the synthetic world."""
    world = WorldConfig(size=size, frames=frames) if world is None else world
    return ExperimentConfig(
        recipe,
        data=DataConfig(world=world),
        evaluation=EvaluationConfig(videos=videos, frames=world.frames, fps=8.0),
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
        "training_tflop": 2.5,
        "tokens_per_second": 4000.0,
        "frames_per_second": 12.0,
        "peak_memory_mib": 700.0,
    }
    (folder / "efficiency.json").write_text(json.dumps(figures))


def fake_grid(
    folder: Path,
    arms: Mapping[str, Spoil],
    *,
    seeds: Sequence[int] = (0,),
    videos: int = 4,
    world: WorldConfig | None = None,
) -> Path:
    """A grid folder with ground truth and scored arms."""
    config = experiment(VANILLA, videos, world=world)
    truth = folder / TRUTH_FOLDER
    score_truth(truth, sample_videos(config, faithful), config, PerfectCodec(), workers=1)
    for recipe, spoil in arms.items():
        for seed in seeds:
            run = folder / recipe / f"seed{seed}"
            config = replace(experiment(recipe, videos, world=world), seed=seed)
            fake_run(run, config, spoil)
            score_run(run, config, workers=1)
    return folder
