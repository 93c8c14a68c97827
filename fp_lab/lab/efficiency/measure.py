"""Measurement of arms in turn in one process, there and back, so that slowdowns affect all alike."""

import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

import torch

from fp_lab.codecs.protocol import LatentCodec
from fp_lab.lab.config import ExperimentConfig, to_yaml
from fp_lab.lab.efficiency.arms import Side
from fp_lab.lab.efficiency.matmul import LARGE_PRODUCT, block_products, multiplying
from fp_lab.lab.efficiency.workload import Sampled, Workload, timed
from fp_lab.lab.planning.flops import forward_flops
from fp_lab.lab.planning.memory import GIB, float32_state, largest_batch
from fp_lab.lab.results.efficiency import cost_key
from fp_lab.lab.runtime.reporter import Reporter


@dataclass(frozen=True)
class ArmEfficiency:
    """Measured costs of an arm.

    Attributes:
        name: name of the arm.
        key: key of the measured settings, see `fp_lab.lab.results.efficiency.cost_key`.
        recipe: ablation name of the recipe.
        order: generation order.
        compared: whether the arm is a control that others are compared with.
        tokens: number of tokens of a training sample, context and section; mean over the plan.
        targets: number of frames that a sample learns to generate; mean over the plan.
        step_seconds: time of a training step, s; median over rounds, mean over the plan.
        tokens_per_second: tokens per second in training.
        flops_per_second: operations per second in training, matrix products (`forward_flops`, backward twice
            that).
        own_share: share of the machine's rate at the blocks' own products.
        large_share: share of the machine's rate at a large product.
        activation_bytes: bytes kept for the backward pass, per sample, at the fullest context.
        peak_bytes: most bytes of tensors alive in a step, at the fullest context.
        state_bytes: bytes of weights, gradients, AdamW and averages, computed from the number of parameters.
        largest_batch: largest batch that fits into the budget beside the state, computed from the two.
        seconds_per_1000: training time of 1,000 samples, s.
        first_section_seconds: time to sample the first section of one video, s, without decoding.
        frames_per_second: latent frames per second in sampling one video, without decoding.
    """

    name: str
    key: str
    recipe: str
    order: str
    compared: bool
    tokens: float
    targets: float
    step_seconds: float
    tokens_per_second: float
    flops_per_second: float
    own_share: float
    large_share: float
    activation_bytes: float
    peak_bytes: int
    state_bytes: float
    largest_batch: int
    seconds_per_1000: float
    first_section_seconds: float
    frames_per_second: float


@dataclass(frozen=True)
class Efficiency:
    """Measured arms and the conditions of measurement.

    Attributes:
        arms: measured arms in order, controls last.
        machine: processor and device.
        threads: number of torch threads.
        precision: precision of training.
        batch: samples per step.
        frames: number of latent frames of a video.
        memory_gb: memory budget of the largest batch, GiB.
        rounds: number of rounds behind medians.
        large_flops_per_second: operations per second of a large product in the same data type and threads.
        load: number of processes that wanted a core, with this one, mean over the last minute.
    """

    arms: tuple[ArmEfficiency, ...]
    machine: str
    threads: int
    precision: str
    batch: int
    frames: int
    memory_gb: float
    rounds: int
    large_flops_per_second: float
    load: float


def measure(
    sides: Sequence[Side],
    codec: LatentCodec,
    *,
    rounds: int = 3,
    memory_gb: float = 1.0,
    steps_alone: bool = False,
    reporter: Reporter | None = None,
) -> Efficiency:
    """Measure arms, after a warm-up.

    Args:
        sides: arms of one batch size and precision.
        codec: codec of the latents.
        rounds: number of measured rounds.
        memory_gb: memory budget of the largest batch, GiB.
        steps_alone: whether to leave out sampling and the machine's own rates, which become NaN.
        reporter: receiver of every piece.

    Raises:
        ValueError: there is no round, or the arms' steps cannot be compared.
    """
    if rounds < 1 or memory_gb <= 0:
        raise ValueError(f"got {rounds} rounds and {memory_gb} GiB, expected at least 1 and more than 0")
    first = _alike(sides)
    torch.set_num_threads(first.training.threads)
    dtype = torch.bfloat16 if first.training.precision == "bf16-mixed" else torch.float32
    reporter, done, clocks = reporter or Reporter(), 0, []
    reporter.begin("measure", (rounds + 1) * len(sides))
    for side in sides:
        reporter.advance(done, f"memory of {side.name}")
        clocks.append(_Clock.of(side, codec, dtype))
        done += 1
    device = clocks[0].work.device
    large, large_seconds = multiplying([LARGE_PRODUCT], device, dtype), list[float]()
    for number in range(rounds):
        for clock in clocks[:: -1 if number % 2 else 1]:  # a load that grows favours no end of the list
            reporter.advance(done, f"{clock.side.name}, round {number + 1}")
            clock.train()
            if not steps_alone:
                clock.sample()
                large_seconds.append(timed(large, device))
            done += 1
    reporter.advance(done)
    rate = LARGE_PRODUCT.flops / _median(large_seconds)
    return Efficiency(
        arms=tuple(clock.figures(memory_gb * GIB, rate) for clock in clocks),
        machine=torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU",
        threads=torch.get_num_threads(),
        precision=first.training.precision,
        batch=first.training.batch,
        frames=first.data.frames,
        memory_gb=memory_gb,
        rounds=rounds,
        large_flops_per_second=rate,
        load=os.getloadavg()[0],
    )


@dataclass
class _Clock:
    """An arm and its times so far, one per round."""

    side: Side
    work: Workload
    activations: float
    peak: int
    own_flops: int
    multiply: Callable[[], object]
    steps: list[list[float]]
    own: list[float] = field(default_factory=list)
    sampled: list[Sampled] = field(default_factory=list)

    @classmethod
    def of(cls, side: Side, codec: LatentCodec, dtype: torch.dtype) -> "_Clock":
        work = Workload(side.config, codec)
        tokens = round(fmean(work.tokens)) * side.config.training.batch
        activations = work.activation_bytes()
        work.step(work.fullest)
        backbone = work.model.backbone.config
        products = block_products(backbone, tokens)
        times = 3 * backbone.depth  # as much as a step does: what disturbs one disturbs the other
        return cls(
            side,
            work,
            activations,
            work.peak_bytes(),
            times * sum(product.flops for product in products),
            multiplying(products, work.device, dtype, times),
            [[] for _ in work.sources],
        )

    def train(self) -> None:
        """Time a step on every source."""
        for index, seconds in enumerate(self.steps):
            seconds.append(self.work.timed_step(index))

    def sample(self) -> None:
        """Time the blocks' products, and one video."""
        self.own.append(timed(self.multiply, self.work.device))
        self.sampled.append(self.work.sample())

    def figures(self, budget: float, large_rate: float) -> ArmEfficiency:
        config, work, batch = self.side.config, self.work, self.side.config.training.batch
        step = fmean(median(seconds) for seconds in self.steps)
        backbone = work.model.backbone.config
        flops = 3 * batch * fmean(forward_flops(backbone, tokens) for tokens in work.tokens) / step
        state = float32_state(work.parameters).total
        return ArmEfficiency(
            name=self.side.name,
            key=cost_key(to_yaml(config)),
            recipe=config.recipe,
            order=config.parsed_recipe.order,
            compared=self.side.compared,
            tokens=fmean(work.tokens),
            targets=fmean(source.targets for source in work.sources),
            step_seconds=step,
            tokens_per_second=batch * fmean(work.tokens) / step,
            flops_per_second=flops,
            own_share=flops / (self.own_flops / _median(self.own)),
            large_share=flops / large_rate,
            activation_bytes=self.activations,
            peak_bytes=self.peak,
            state_bytes=state,
            largest_batch=largest_batch(budget, state, self.activations),
            seconds_per_1000=1000 * step / batch,
            first_section_seconds=_median([sampled.first_section for sampled in self.sampled]),
            frames_per_second=(config.evaluation.frames - 1)
            / _median([sampled.total for sampled in self.sampled]),
        )


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan


def _alike(sides: Sequence[Side]) -> ExperimentConfig:
    """Return the first arm's config, after a check that all steps are of the same kind."""
    first = sides[0].config
    for side in sides:
        ours, others = (
            (c.training.batch, c.training.precision, c.training.threads, c.training.accelerator)
            for c in (first, side.config)
        )
        if ours != others:
            raise ValueError(
                f"{side.name}: got batch, precision, threads and accelerator {others}, expected those of "
                f"{sides[0].name}, {ours}: give them once, such as training.batch={ours[0]}"
            )
    return first
