"""Quality of a base before arms are built on it: motion, shape and look of objects, memory."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from fp_data.latents import to_frames, to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codecs.tiny import Codec
from fp_lab.flow.solvers import SolverConfig
from fp_lab.lab.scoring.forgetting import truly_shown
from fp_lab.lab.scoring.score_video import pixels
from fp_lab.lab.scoring.world_truth import scene_truths, world_truths
from fp_lab.model import FramePackModel
from fp_lab.recipe import parse
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig
from fp_metrics import About, score_video
from fp_metrics.forgetting import ForgettingMeter
from fp_metrics.returns import Forgetting

GAPS = range(8, 13)
REACH = range(1, 20)
"""Gaps within the reach of 19 frames of history."""


@dataclass(frozen=True)
class Recalled:
    """Agreement of returned content with the hidden one, means over videos.

    Attributes:
        psnr: PSNR in dB against the truth, of pixels that were shown truly and then hidden for some frames.
        told: share of objects identified correctly by the probe, among those hidden no longer than `REACH`.
    """

    psnr: float
    told: float


class Judge:
    """Sampling and measurement with one model.

    Args:
        model: base to judge.
        codec: codec of its latents.
        seeds: seeds of the videos of every metric.
        steps: number of steps of the Euler solver.
    """

    def __init__(self, model: FramePackModel, codec: Codec, seeds: Sequence[int], steps: int) -> None:
        self.model, self.codec, self.seeds = model, codec, seeds
        self.sampling = SamplingConfig(SolverConfig("euler", steps))

    @torch.no_grad()
    def sampled(
        self, recipe: str, world: WorldConfig, *, true_history: bool
    ) -> tuple[Tensor, list[tuple[int, ...]]]:
        """Sample videos, uint8 ``b t h w c``, and their sections; the first frame is given."""
        true = render(world, self.seeds)
        latents = self.codec.encode(to_pixels(true.frames))
        made, sections = latents.clone(), []
        for rolled in rollout(
            self.model, parse(recipe), latents[:, :, :1], frames=world.frames, captions=true.captions,
            seeds=self.seeds, sampling=self.sampling, history=latents if true_history else None,
        ):  # fmt: skip
            made[:, :, list(rolled.section.targets)] = rolled.latents
            sections.append(rolled.section.targets)
        return to_frames(self.codec.decode(made)), sections

    def moving(
        self, recipe: str, frames: int, *stretches: range, true_history: bool
    ) -> list[dict[str, float]]:
        """Measure the estimators of family world, as means over videos and over stretches of frames.

        Returns:
            Estimator -> mean, for each stretch.
        """
        world = WorldConfig(frames=frames)
        made, _ = self.sampled(recipe, world, true_history=true_history)
        found: list[dict[str, list[float]]] = [{} for _ in stretches]
        for video, truth in zip(made, world_truths(world, self.seeds), strict=True):
            scored = score_video(
                iter(pixels(video)), families=("world",), length=frames, about=About(truth=truth)
            )
            for row in scored.to_rows():
                for stretch, values in zip(stretches, found, strict=True):
                    if row["frame"] in stretch and math.isfinite(row["value"]):
                        values.setdefault(row["estimator"], []).append(row["value"])
        return [{name: fmean(values) for name, values in each.items()} for each in found]

    def recalled(self, recipe: str, frames: int, gaps: range = GAPS, *, true_history: bool) -> Recalled:
        """Measure what comes back behind the curtain: in 28 frames or more, 64 for a slow curtain."""
        world = WorldConfig(frames=frames, variant="curtain")
        made, sections = self.sampled(recipe, world, true_history=true_history)
        shown = truly_shown(sections, world.frames, true_history=true_history)
        found: list[Forgetting] = []
        for video, truth in zip(made, scene_truths(world, self.seeds), strict=True):
            meter = ForgettingMeter(truth, shown)
            meter.update(pixels(video))
            found.append(meter.compute())
        return Recalled(
            _mean(f.mean("recall", "psnr", gaps) for f in found),
            _mean(f.mean("told", gaps=REACH) for f in found),
        )


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan
