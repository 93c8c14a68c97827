"""What a base can do before arms are built on it: python benchmarks/base_quality.py --base runs/base.

Moving objects: videos of `plain` with told motion, from own and from true history; values are means over
videos and the frames of the last sections. Memory: what comes back behind the curtain, with 19 uncompressed
frames of history and with one; PSNR against the truth of pixels that were shown truly before, and the share
of objects that the probe tells right. Wanted are the figures that make arms worth comparing.
"""

import argparse
import math
from collections.abc import Iterable, Iterator
from statistics import fmean

import torch
from rich.console import Console
from torch import Tensor

from fp_data.latents import to_frames, to_pixels
from fp_data.worlds import WorldConfig, render
from fp_lab.codec import Codec
from fp_lab.lab.forgotten import truly_shown
from fp_lab.lab.measured import pixels
from fp_lab.lab.truth import scene_truths, world_truths
from fp_lab.model import FramePackModel
from fp_lab.recipe import parse
from fp_lab.rollout import SamplingConfig, rollout
from fp_lab.solvers import SolverConfig
from fp_metrics import About, score_video
from fp_metrics.forgetting import Forgetting, ForgettingMeter

GAPS = range(8, 13)


class Judge:
    """Samples and measures with one model.

    Args:
        model: the base.
        codec: of its latents.
        videos: per figure.
        steps: of the solver.
    """

    def __init__(self, model: FramePackModel, codec: Codec, videos: int, steps: int) -> None:
        self.model, self.codec, self.seeds = model, codec, range(videos)
        self.sampling = SamplingConfig(SolverConfig("euler", steps))

    @torch.no_grad()
    def sampled(
        self, recipe: str, world: WorldConfig, *, true_history: bool
    ) -> tuple[Tensor, list[tuple[int, ...]]]:
        """Videos, uint8 ``b t h w c``, and their sections; the first frame is given."""
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

    def moving(self, recipe: str, frames: int, last: int, *, true_history: bool) -> dict[str, float]:
        """Estimators of family world, means over videos and the last so many frames."""
        world = WorldConfig(frames=frames)
        made, _ = self.sampled(recipe, world, true_history=true_history)
        found: dict[str, list[float]] = {}
        for video, truth in zip(made, world_truths(world, self.seeds), strict=True):
            scored = score_video(
                iter(pixels(video)), families=("world",), length=frames, about=About(truth=truth)
            )
            for row in scored.to_rows():
                if row["frame"] >= frames - last and math.isfinite(row["value"]):
                    found.setdefault(row["estimator"], []).append(row["value"])
        return {name: fmean(values) for name, values in found.items()}

    def recalled(self, recipe: str, *, true_history: bool) -> tuple[float, float]:
        """Of what comes back behind the curtain: PSNR in dB after gaps of 8 to 12, share told right."""
        world = WorldConfig(frames=64, variant="curtain")
        made, sections = self.sampled(recipe, world, true_history=true_history)
        shown = truly_shown(sections, world.frames, true_history=true_history)
        found: list[Forgetting] = []
        for video, truth in zip(made, scene_truths(world, self.seeds), strict=True):
            meter = ForgettingMeter(truth, shown)
            meter.update(pixels(video))
            found.append(meter.compute())
        return _mean(f.mean("recall", "psnr", GAPS) for f in found), _mean(f.mean("told") for f in found)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return fmean(known) if known else math.nan


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="shipped")
    parser.add_argument("--codec", default="shipped")
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--steps", type=int, default=12, help="of the Euler solver")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    judge = Judge(
        FramePackModel.load(options.base).eval(), Codec.load(options.codec), options.videos, options.steps
    )
    for row in rows(judge):
        Console().print(row, highlight=False)


def rows(judge: Judge) -> Iterator[str]:
    """Lines of the table, each as soon as it is measured."""
    yield f"{'':52} measured  wanted"

    def row(what: str, measured: float, wanted: str) -> str:
        return f"{what:52} {measured:8.3f}  {wanted}"

    own = judge.moving("td_f3k1_g9", 28, 18, true_history=False)
    true = judge.moving("td_f3k1_g9", 28, 18, true_history=True)
    yield row("speed reached, told, own history", own["world/speed-reached"], ">= .85")
    yield row("shape IoU, true history", true["world/shape-iou"], ">= .93")
    yield row("shape IoU, own history", own["world/shape-iou"], ">= .85")
    far = judge.moving("td_f16k4f2k2f1k1_g9", 64, 9, true_history=False)
    yield row("look against the first frame after 64 frames", far["world/look-against-first"], ">= .92")
    for history in ("true", "own"):
        many, one = (judge.recalled(r, true_history=history == "true") for r in ("td_f19k1_g9", "td_f1k1_g9"))
        yield row(f"recall of 19 k1 frames less of 1, dB, {history} history", many[0] - one[0], ">= 6")
        yield row(f"objects told right, 19 k1 frames, {history} history", many[1], ">= .80")
        yield row(f"objects told right, 1 frame, {history} history", one[1], "chance")


if __name__ == "__main__":
    main()
