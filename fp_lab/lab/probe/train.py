"""Training of the probe, a plain loop over renders with known damage."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_lab.checks.finite import check_step
from fp_lab.codecs.tiny import Codec
from fp_lab.lab.probe.samples import Samples, draw_samples
from fp_lab.lab.runtime.reporter import Reporter
from fp_metrics.networks.probe import Probe, ProbeOutput


@dataclass(frozen=True)
class ProbeRunConfig:
    """Settings of the probe's training, which its weights depend on.

    Attributes:
        steps: number of optimiser steps.
        batch: frames per step, a multiple of 16.
        learning_rate: peak learning rate of AdamW; it rises over a tenth of the steps, then falls along a
            cosine.
        weight_decay: weight decay of AdamW.
        codec: codec of the round trip of a part of the frames.
        seed: seed of all randomness.
    """

    steps: int = 400
    batch: int = 64
    learning_rate: float = 6e-3
    weight_decay: float = 0.02
    codec: str = "shipped"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that this can be trained."""
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")
        if self.batch < 16 or self.batch % 16:
            raise ValueError(
                f"batch: got {self.batch}, expected a multiple of 16: a sixteenth for each damage"
            )


def fit(
    config: ProbeRunConfig, reporter: Reporter | None = None
) -> tuple[Probe, list[tuple[int, float, float]]]:
    """Train a probe.

    Args:
        config: settings of the training.
        reporter: receiver of every step.

    Returns:
        Probe in inference mode, and its curve: step, mean loss since the last entry, seconds.

    Raises:
        NotFinite: loss or gradient of a step is not finite.
    """
    started, reporter = perf_counter(), reporter or Reporter()
    reporter.begin("train", config.steps)
    with torch.random.fork_rng(devices=[]), _one_thread():
        codec = Codec.load(config.codec)
        torch.manual_seed(config.seed)
        probe = Probe().to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(
            probe.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step / config.steps))
        curve, losses = [], []
        for step, samples in enumerate(_batches(config, codec), start=1):
            output = probe(samples.frames.contiguous(memory_format=torch.channels_last))
            loss = sum(losses_of(output, samples).values(), torch.zeros(()))
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(probe.parameters(), 5.0)
            losses.append(float(loss.detach()))
            check_step(step, float(schedule.get_last_lr()[0]), loss=losses[-1], gradient_norm=float(norm))
            optimizer.step()
            schedule.step()
            reporter.advance(step, f"loss {losses[-1]:.2f}")
            if step % 20 == 0 or step == config.steps:
                curve.append((step, sum(losses) / len(losses), perf_counter() - started))
                losses.clear()
    return probe.to(memory_format=torch.contiguous_format).eval().requires_grad_(False), curve


def _rate(done: float, rise: float = 0.1, start: float = 0.04) -> float:
    """Learning rate as a share of the peak, at a share of the steps."""
    if done < rise:
        return start + (1 - start) * done / rise
    return 0.5 + 0.5 * math.cos(math.pi * (done - rise) / (1 - rise))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, so that sums do not depend on the cores; a second core makes the next batch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def losses_of(output: ProbeOutput, samples: Samples) -> dict[str, Tensor]:
    """Compute the losses by head, weighted so that no head dominates."""
    named = samples.named / samples.named.sum().clamp(min=1)
    names = {
        head: (F.cross_entropy(getattr(output, head), getattr(samples, head), reduction="none") * named).sum()
        for head in ("shape", "colour", "texture")
    }
    outlined = samples.outlined / samples.outlined.sum().clamp(min=1)
    whole = samples.centred / samples.centred.sum().clamp(min=1)
    formed = F.binary_cross_entropy_with_logits(output.well_formed, samples.well_formed, reduction="none")
    off = F.smooth_l1_loss(output.centre, samples.centres, reduction="none", beta=0.2).sum(1)
    looks = (output.embedding @ output.embedding.T - likeness(samples)).square()
    pairs = (samples.visible > 0.5).float()
    pairs = pairs[:, None] * pairs * (1 - torch.eye(len(pairs)))
    return names | {
        "mask": 15 * F.binary_cross_entropy_with_logits(output.mask, samples.masks),
        "visible": F.binary_cross_entropy_with_logits(output.visible, samples.visible),
        "well_formed": 2 * (formed * outlined).sum(),
        "clarity": 4 * F.binary_cross_entropy_with_logits(output.clarity, samples.clarity),
        "centre": 0.02 * (off * whole).sum(),
        "embedding": 5 * (looks * pairs).sum() / pairs.sum().clamp(min=1),
    }


def likeness(samples: Samples) -> Tensor:
    """Similarity of objects for all pairs ``(n, n)``, in [0, 1]: the target of the embeddings' cosine.

    A third each for the colour (a Gaussian of the RGB distance, deviation 0.2), the texture (same or not) and
    the outline: 0 for another shape, else the worse of the two objects' well-formedness.
    """
    colour = torch.exp(-torch.cdist(samples.rgb, samples.rgb).square() / (2 * 0.2**2))
    texture = (samples.texture[:, None] == samples.texture).float()
    formed = torch.minimum(samples.well_formed[:, None], samples.well_formed)
    outline = (samples.shape[:, None] == samples.shape).float() * formed
    return (colour + texture + outline) / 3


def _batches(config: ProbeRunConfig, codec: Codec) -> Iterator[Samples]:
    """Yield the batches in order; the next one is made during each step."""

    def draw(index: int) -> Samples:
        torch.set_num_threads(1)  # a setting of each thread
        return draw_samples(config.seed, index, config.batch, codec)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(draw, 0)
        for index in range(1, config.steps + 1):
            samples = waiting.result()
            if index < config.steps:
                waiting = pool.submit(draw, index)
            yield samples
