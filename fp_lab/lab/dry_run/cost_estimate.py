"""Cost estimate of a grid: a training step and one video's scores are timed, the rest is counted.

Over a transformer of diffusers a large matrix product is timed instead of a step, to avoid loading it.
Timings are stored, see `fp_lab.lab.dry_run.remembered_timings`.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from fp_lab.codecs.video import pixel_frames
from fp_lab.lab.config import ExperimentConfig
from fp_lab.lab.dry_run.remembered_timings import remembered
from fp_lab.lab.files.video_batch import HISTORIES
from fp_lab.lab.planning.flops import (
    costs_of,
    own_backbone,
    shape_of,
    step_flops,
    strides_of,
    with_true_history,
)
from fp_lab.lab.provenance.stage_keys import measured_by
from fp_lab.lab.runs.job import Job
from fp_lab.lab.runtime.device import lacks_gpu

SHARE = 0.4
"""Assumed rate of a transformer of diffusers, as a share of that of a large product, as in `fp-lab plan`."""
_SCORED_FRAMES = 16


@dataclass(frozen=True)
class Cost:
    """Estimated seconds of the stages of an arm; 0 for those that are done."""

    train: float = 0.0
    sample: float = 0.0
    score: float = 0.0

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return self.train + self.sample + self.score


def estimate(jobs: Sequence[Job]) -> list[Cost]:
    """Estimate the costs of jobs in order, in proportion to floating-point operations.

    One training step of the first pending arm is timed, and the scoring of one short video. Arms over a
    transformer of diffusers are assumed to reach `SHARE` of the rate of a large matrix product, which is
    timed instead; their encoding and decoding are left out. What cannot be counted is NaN, as are arms that
    need a GPU where there is none.

    Args:
        jobs: jobs of one grid.
    """
    pending = [job.config for job in jobs if job.pending]
    if not pending:
        return [Cost() for _ in jobs]
    firsts = {costs_of(config).timed: config for config in reversed(pending) if not lacks_gpu(config)}
    rates = {timed: _rate(config) for timed, config in firsts.items()}
    per_frame = _seconds_per_frame(firsts.get(True, pending[0]))

    def rate(config: ExperimentConfig) -> float:
        return math.nan if lacks_gpu(config) else rates[costs_of(config).timed]

    costs = [_cost(job, rate(job.config), per_frame) if job.pending else Cost() for job in jobs]
    earlier: dict[str, Job] = {}
    for place, job in enumerate(jobs):
        first = earlier.setdefault(job.keys.train, job)  # trains the model of later ones that may reuse it
        if first.folder in job.trained and first is not job:
            costs[place] = replace(costs[place], train=0.0)
    return costs


def _rate(config: ExperimentConfig) -> float:
    """Operations per second of training."""

    def product() -> float:
        from fp_lab.lab.dry_run.timings import product_rate  # slow to import

        return product_rate(config)

    def step() -> float:
        from fp_lab.lab.dry_run.timings import timed_step  # slow to import

        return timed_step(config)

    training = config.training
    where = {"threads": training.threads, "accelerator": training.accelerator}
    if not costs_of(config).timed:
        types = {"lora": config.model.lora is not None, "dtype": config.model.dtype}
        return SHARE * remembered("product", where | types | {"precision": training.precision}, product)
    # what a source of histories adds is counted: a step with a refresh is not a typical one
    config = with_true_history(config)
    parts = (config.context, config.objective, own_backbone(config), shape_of(config, config.data.frames))
    of_step: dict[str, Any] = {type(part).__name__: asdict(part) for part in parts}
    of_step |= {"recipe": config.recipe, "fill": config.sampling.fill, "batch": training.batch}
    return step_flops(config) * training.batch / remembered("step", where | of_step, step)


def _seconds_per_frame(config: ExperimentConfig) -> float:
    """Seconds of scoring a frame on one thread."""
    frames = min(_SCORED_FRAMES, config.evaluation.frames)
    scored: dict[str, Any] = {"frames": frames, "kind": config.data.kind, "size": config.data.size}
    scored |= {"world": asdict(config.data.world)} if config.data.kind == "world" else {}
    scored |= {"measured": measured_by(config), "perceptual": config.evaluation.perceptual}

    def measure() -> float:
        from fp_lab.lab.dry_run.timings import seconds_per_frame  # slow to import

        return seconds_per_frame(config, frames)

    return remembered("score", scored, measure)


def _cost(job: Job, rate: float, per_frame: float) -> Cost:
    config = job.config
    training, evaluation = config.training, config.evaluation
    ranks = 1 if costs_of(config).timed else training.ranks  # a timed step is of the whole batch
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
    """Floating-point operations of generating one video of the evaluation set."""
    sampling = config.sampling
    calls = sampling.solver.steps * (2 if sampling.guidance != 1 else 1)
    return costs_of(config).sampling_flops(calls)
