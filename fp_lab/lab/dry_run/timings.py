"""Timings for the estimate of a grid: a training step, a matrix product, the scores of one video."""

import time
from dataclasses import replace
from functools import partial

import torch

from fp_lab.lab.config import ExperimentConfig, TrackConfig
from fp_lab.lab.efficiency.matmul import LARGE_PRODUCT, multiplying
from fp_lab.lab.efficiency.workload import timed
from fp_lab.lab.files.weights import own_codec_sizes
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.materials.videos import evaluation_videos
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.scoring.score_run import measure_truth
from fp_lab.training.framepack_system import LatentBatch, step_generator

_STEPS = 3
_ENOUGH = 1.0  # seconds of timed steps, after which no further one is taken


def product_rate(config: ExperimentConfig) -> float:
    """Measure operations per second of a large matrix product in the data type of an arm's blocks."""
    torch.set_num_threads(config.training.threads)
    settings, device = config.model, device_of(config)
    frozen = settings.lora is not None and settings.dtype == "bfloat16"
    low = frozen or config.training.precision == "bf16-mixed"
    multiply = multiplying([LARGE_PRODUCT], device, torch.bfloat16 if low else torch.float32)
    multiply()
    return LARGE_PRODUCT.flops / min(timed(multiply, device) for _ in range(_STEPS))


def timed_step(config: ExperimentConfig) -> float:
    """Measure seconds of a training step of an arm, on random latents, after one of a single item as warm-up.

    Neither data nor codec are loaded.
    """
    torch.set_num_threads(config.training.threads)
    codec = own_codec_sizes(config.codec.source)
    small = replace(config, recipe=str(replace(config.parsed_recipe, codebook=None)))  # its fit is no step
    system = build_system(small, build_model(small, codec.channels))
    side = config.data.size // codec.spatial
    shape = (config.training.batch, codec.channels, config.data.frames, side, side)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    batch = LatentBatch(latents=latents, captions=[""] * config.training.batch)
    one = LatentBatch(latents=latents[:1], captions=[""])
    optimizer = torch.optim.AdamW(system.parameters())

    def step(items: LatentBatch, number: int) -> None:
        system.section_loss(items, step_generator(0, 0, number)).backward()
        optimizer.step()
        optimizer.zero_grad()

    step(one, 0)
    seconds: list[float] = []
    while len(seconds) < _STEPS and sum(seconds) < _ENOUGH:
        seconds.append(timed(partial(step, batch, 1 + len(seconds)), latents.device))
    return min(seconds)


def seconds_per_frame(config: ExperimentConfig, frames: int) -> float:
    """Measure seconds of scoring a frame on one thread.

    Args:
        config: settings of an arm.
        frames: number of frames of the scored video.
    """
    evaluation = replace(config.evaluation, videos=1, frames=frames, given=1)
    short = replace(config, evaluation=evaluation, track=TrackConfig())
    videos = evaluation_videos(short)
    started = time.perf_counter()
    measure_truth(videos, short)
    return (time.perf_counter() - started) / (2 * frames)  # of two histories
