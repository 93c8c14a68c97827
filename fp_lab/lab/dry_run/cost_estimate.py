"""What a grid will cost: one training step and one video's scores are timed, the rest is counted.

Over a transformer of diffusers no step is timed, as that would be to load it: a large matrix product is.
"""

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from fp_lab.codecs.tiny import Codec
from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import ExperimentConfig, TrackConfig
from fp_lab.lab.efficiency.matmul import LARGE_PRODUCT, multiplying
from fp_lab.lab.efficiency.workload import timed
from fp_lab.lab.encoding.conditions import is_real
from fp_lab.lab.materials.materials import Materials
from fp_lab.lab.materials.models import build_model, build_system
from fp_lab.lab.materials.videos import evaluation_videos
from fp_lab.lab.planning.flops import BACKWARD, shape_of, step_flops, strides_of
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runtime.device import device_of
from fp_lab.lab.sampling.evaluation_videos import HISTORIES
from fp_lab.lab.scoring.score_run import score_truth
from fp_lab.recipe.orders import plan
from fp_lab.training.system import LatentBatch, step_generator

SHARE = 0.4
"""Of the rate of a large product that a transformer of diffusers is taken to reach, as in `fp-lab plan`."""
_STEPS = 3
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

    One training step of the first arm that is not done is timed, and the scoring of one short video. Arms
    over a transformer of diffusers are taken to reach `SHARE` of the rate of a large matrix product, which is
    timed instead; their encoding and decoding are left out. What cannot be counted is NaN.

    Args:
        jobs: arms of one grid.
        materials: whose codec tells the shape of latents.
    """
    pending = [job.config for job in jobs if job.pending]
    if not pending:
        return [Cost() for _ in jobs]
    firsts = {is_real(config): config for config in reversed(pending)}
    rates = {real: _rate(config, materials) for real, config in firsts.items()}
    per_frame = _seconds_per_frame(firsts.get(False, pending[0]), materials)
    return [_cost(job, rates[is_real(job.config)], per_frame) if job.pending else Cost() for job in jobs]


def _rate(config: ExperimentConfig, materials: Materials) -> float:
    """Operations per second of training."""
    if is_real(config):
        return SHARE * product_rate(config)
    return step_flops(config) * config.training.batch / timed_step(config, materials)


def product_rate(config: ExperimentConfig) -> float:
    """Operations per second of a large matrix product in the type that an arm's blocks compute in."""
    torch.set_num_threads(config.training.threads)
    settings, device = config.model, device_of(config)
    frozen = settings.lora is not None and settings.dtype == "bfloat16"
    low = frozen or config.training.precision == "bf16-mixed"
    multiply = multiplying([LARGE_PRODUCT], device, torch.bfloat16 if low else torch.float32)
    multiply()
    return LARGE_PRODUCT.flops / min(timed(multiply, device) for _ in range(_STEPS))


def timed_step(config: ExperimentConfig, materials: Materials) -> float:
    """Seconds of a training step of an arm, on random latents; the first one, which warms up, left out."""
    torch.set_num_threads(config.training.threads)
    codec = materials.codec(config)
    small = replace(config, recipe=str(replace(config.parsed_recipe, codebook=None)))  # its fit is no step
    system = build_system(small, build_model(small, codec))
    side = config.data.size // codec.spatial
    shape = (config.training.batch, codec.channels, config.data.frames, side, side)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    batch = LatentBatch(latents=latents, captions=[""] * config.training.batch)
    optimizer = torch.optim.AdamW(system.parameters())

    def step(number: int) -> None:
        system.section_loss(batch, step_generator(0, 0, number)).backward()
        optimizer.step()
        optimizer.zero_grad()

    step(0)
    return min(timed(partial(step, number), latents.device) for number in range(1, _STEPS + 1))


def _seconds_per_frame(config: ExperimentConfig, materials: Materials) -> float:
    """Of scoring on one thread; the shipped codec stands for one of diffusers, which is not loaded."""
    frames = min(_SCORED_FRAMES, config.evaluation.frames)
    evaluation = replace(config.evaluation, videos=1, frames=frames, given=1)
    short = replace(config, evaluation=evaluation, track=TrackConfig())
    videos = evaluation_videos(short)
    codec = Codec.load() if is_real(config) else materials.codec(config)
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        score_truth(Path(folder), videos, short, codec, workers=1)
        return (time.perf_counter() - started) / (2 * evaluation.frames)  # with and without the codec


def _cost(job: Job, rate: float, per_frame: float) -> Cost:
    config = job.config
    training, evaluation = config.training, config.evaluation
    ranks = training.ranks if is_real(config) else 1  # a timed step is of the whole batch
    parts = {"train": math.nan, "sample": math.nan, "score": math.nan}
    with suppress(ValueError):
        parts["train"] = step_flops(config) * training.batch * training.steps / rate / ranks
    with suppress(ValueError):
        parts["sample"] = len(HISTORIES) * evaluation.videos * _video_flops(config) / rate
    with suppress(ValueError):
        frames = pixel_frames(evaluation.frames, strides_of(config).temporal)
        scored = evaluation.videos * frames * len(HISTORIES)
        parts["score"] = scored * per_frame / training.threads
    return Cost(**{stage: parts[stage] for stage in job.pending})


def _video_flops(config: ExperimentConfig) -> float:
    """Operations of generating one video of the evaluation set."""
    evaluation, sampling = config.evaluation, config.sampling
    calls = sampling.solver.steps * (2 if sampling.guidance != 1 else 1)
    if is_real(config):
        from fp_lab.lab.planning.arm_flops import sampling_flops  # slow to import

        return sampling_flops(config, shape_of(config, evaluation.frames), calls)
    given = frozenset(range(evaluation.given))
    sections = len(plan(config.parsed_recipe, evaluation.frames, given=given, fill=sampling.fill))
    return sections * calls * step_flops(config) / BACKWARD
