"""A minute of video costs what twelve times five seconds do: python benchmarks/minute.py --threads 1.

Latents alone, by the shipped base: seconds per section, those at the end over those when the history is full,
and what the history holds; beside it a tail that keeps a token per old frame, which grows.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.section_context import PackedHistory
from fp_lab.sampling.settings import SamplingConfig

RECIPES = {
    "forward, packed": "td_f16k4f2k2f1k1_g9",
    "inverted, packed": "f1k1_x_g9_f1k1f2k2f16k4_td",
    "forward, one token per old frame": "ta_f16k4f2k2f1k1_g9",
}
FRAMES = {"5 s": 1 + 5 * 30 // 4, "60 s": 1 + 60 * 30 // 4}
WINDOW = 3


@dataclass
class Section:
    """Seconds that it took, and bytes of latents held for later ones."""

    seconds: float
    held: int


def sections(model: FramePackModel, recipe: str, frames: int) -> Iterator[Section]:
    """Time and bytes of history of every section."""
    held: list[int] = []
    attended = PackedHistory.attended

    def watched(self: PackedHistory, *args: Any) -> Any:
        result = attended(self, *args)
        held.append(sum(latent.numel() * latent.element_size() for latent in self.kept.values()))
        return result

    first = torch.zeros(1, model.backbone.channels, 1, 16, 16)
    sampling = SamplingConfig(SolverConfig("euler", 4))
    with patch.object(PackedHistory, "attended", watched):
        started = time.perf_counter()
        for _ in rollout(
            model, parse(recipe), first, frames=frames, captions=["a ball"], seeds=[0], sampling=sampling
        ):
            now = time.perf_counter()
            yield Section(now - started, held[-1])
            started = time.perf_counter()


def main() -> None:
    """Print a line per recipe and length."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(arguments.parse_args().threads)
    print(f"{'':34}{'':6}{'sections':>9}{'s each':>8}{'last/full':>10}{'KiB held':>10}")
    for name, recipe in RECIPES.items():
        model = FramePackModel.load("shipped").with_kernels(kernels_of(parse(recipe))).eval()
        list(sections(model, recipe, 40))
        for length, frames in FRAMES.items():
            made = list(sections(model, recipe, frames))
            full = made[WINDOW : 2 * WINDOW + 1] or made
            ratio = median(s.seconds for s in made[-2 * WINDOW :]) / median(s.seconds for s in full)
            each, held = median(s.seconds for s in made), max(s.held for s in made) / 1024
            print(f"{name:34}{length:>6}{len(made):9}{each:8.3f}{ratio:10.2f}{held:10.1f}")


if __name__ == "__main__":
    main()
