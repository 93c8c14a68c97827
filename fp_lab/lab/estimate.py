"""What a grid will cost: one training step and one video's scores are timed, the rest is counted."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from fp_lab.lab.arm import Job
from fp_lab.lab.build import Materials, build_model, build_system, evaluation_videos
from fp_lab.lab.compute import sample_flops
from fp_lab.lab.config import LATENT_STRIDE, ExperimentConfig, TrackConfig
from fp_lab.lab.evaluate import score_truth
from fp_lab.lab.real import is_real
from fp_lab.lab.sample import HISTORIES
from fp_lab.orders import plan
from fp_lab.system import LatentBatch, step_generator

_STEPS = 3
_BACKWARD = 3.0  # a step costs three forward passes
_SCORED_FRAMES = 16


@dataclass(frozen=True)
class Cost:
    """Seconds that the stages of an arm will take; 0 for those that are done."""

    train: float = 0.0
    sample: float = 0.0
    score: float = 0.0

    @property
    def total(self) -> float:
        """All stages."""
        return self.train + self.sample + self.score


def estimate(jobs: Sequence[Job], materials: Materials) -> list[Cost]:
    """Costs of jobs in their order, in proportion to floating-point operations.

    One training step of the first arm that is not done is timed, and the scoring of one short video. What is
    left of arms over a transformer of diffusers is NaN: to time a step would be to load it.

    Args:
        jobs: arms of one grid.
        materials: whose codec tells the shape of latents.
    """
    first = next((job for job in jobs if job.pending and not is_real(job.config)), None)
    if first is None:
        return [_unknown(job) for job in jobs]
    rate = sample_flops(first.config) * first.config.training.batch / timed_step(first.config, materials)
    per_frame = _seconds_per_frame(first.config, materials)
    return [_unknown(job) if is_real(job.config) else _cost(job, rate, per_frame) for job in jobs]


def _unknown(job: Job) -> Cost:
    return Cost(**dict.fromkeys(job.pending, math.nan))


def timed_step(config: ExperimentConfig, materials: Materials) -> float:
    """Seconds of a training step of an arm, on random latents; the first one, which warms up, left out."""
    torch.set_num_threads(config.training.threads)
    codec = materials.codec(config)
    small = replace(config, recipe=str(replace(config.parsed_recipe, codebook=None)))  # its fit is no step
    system = build_system(small, build_model(small, codec))
    side = config.data.size // LATENT_STRIDE
    shape = (config.training.batch, codec.channels, config.data.frames, side, side)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    batch = LatentBatch(latents=latents, captions=[""] * config.training.batch)
    optimizer = torch.optim.AdamW(system.parameters())

    def step(number: int) -> None:
        system.section_loss(batch, step_generator(0, 0, number)).backward()
        optimizer.step()
        optimizer.zero_grad()

    step(0)
    return _quickest(step)


def _quickest(step: Callable[[int], None]) -> float:
    seconds = []
    for number in range(1, _STEPS + 1):
        started = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _seconds_per_frame(config: ExperimentConfig, materials: Materials) -> float:
    """Of scoring on one thread."""
    evaluation = replace(config.evaluation, videos=1, frames=min(_SCORED_FRAMES, config.evaluation.frames))
    short = replace(config, evaluation=evaluation, track=TrackConfig())
    videos = evaluation_videos(short)
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        score_truth(Path(folder), videos, short, materials.codec(config), workers=1)
        return (time.perf_counter() - started) / (2 * evaluation.frames)  # with and without the codec


def _cost(job: Job, rate: float, per_frame: float) -> Cost:
    config, pending = job.config, job.pending
    evaluation, solver = config.evaluation, config.sampling.solver
    batch_step = sample_flops(config) * config.training.batch / rate
    sections = len(plan(config.parsed_recipe, evaluation.frames, fill=config.sampling.fill))
    calls = solver.steps * (2 if config.sampling.guidance != 1 else 1)
    forward = batch_step / _BACKWARD * evaluation.videos / config.training.batch
    frames = evaluation.videos * evaluation.frames * len(HISTORIES)
    return Cost(
        config.training.steps * batch_step if "train" in pending else 0.0,
        len(HISTORIES) * sections * calls * forward if "sample" in pending else 0.0,
        frames * per_frame / config.training.threads if "score" in pending else 0.0,
    )
