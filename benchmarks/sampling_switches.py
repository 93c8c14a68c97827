"""What the switches of sampling cost: python benchmarks/sampling_switches.py --threads 1.

A video of three sections by the shipped base; the history of the last one is full. All variants take turns;
printed are the best processor time of each and its ratio to that without a switch. Beside the bias of recency
the same one as a mask.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from fp_lab.backbones.tiny import blocks
from fp_lab.codecs.tiny import Codec
from fp_lab.flow.solvers import SolverConfig
from fp_lab.model import FramePackModel
from fp_lab.packing.packer import kernels_of
from fp_lab.recipe import parse
from fp_lab.sampling.history_latents import AdaptiveConfig
from fp_lab.sampling.recency import RecencyConfig
from fp_lab.sampling.rollout import rollout
from fp_lab.sampling.settings import SamplingConfig

RECIPE = parse("f1k1_x_f16k4f2k2f1k1_g9")
SECTIONS = 3
RECENCY = {"recency": RecencyConfig(0.1, sink=1)}
SWITCHES: dict[str, dict[str, Any]] = {
    "none": {},
    "rope_jitter": {"rope_jitter": 0.8},
    "recency": RECENCY,
    "recency, by a mask": RECENCY,
    "adaptive": {"adaptive": AdaptiveConfig(0.1, mean=0.0, variance=0.0)},
    "section_noise": {"section_noise": "shared"},
    "reencode": {"reencode": True},
    "positions": {"positions": "relative"},
}


def masked(kernel: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, weights: Tensor | None) -> Tensor:
    """Attention with the same bias as a mask that the kernel adds to the logits."""
    if weights is None:
        return kernel(q, k, v)
    bias = weights.log().mT.expand(-1, q.shape[1], q.shape[2], -1)
    return kernel(q, k, v, attn_mask=bias)


def main() -> None:
    """Print a line per switch."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--side", type=int, default=16, help="latent rows and columns")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    model = FramePackModel.load("shipped").with_kernels(kernels_of(RECIPE)).eval()
    codec = Codec.load("shipped").eval()
    first = torch.zeros(1, model.backbone.channels, 1, options.side, options.side)
    plain = SamplingConfig(SolverConfig("euler", 8))

    def sample(**switches: Any) -> None:
        for _ in rollout(
            model,
            RECIPE,
            first,
            frames=1 + SECTIONS * RECIPE.section,
            captions=["a ball"],
            seeds=[0],
            sampling=replace(plain, **switches),
            codec=codec,
        ):
            pass

    sample()
    best = dict.fromkeys(SWITCHES, float("inf"))
    for _ in range(options.rounds):
        for name, switches in SWITCHES.items():
            swapped: AbstractContextManager[Any] = nullcontext()
            if "mask" in name:
                swapped = patch.object(blocks, "attend", masked)
            with swapped:
                started = time.process_time()
                sample(**switches)
                best[name] = min(best[name], time.process_time() - started)
    print(f"{'switch':20}{'s':>8}{'ratio':>8}")
    for name, seconds in best.items():
        print(f"{name:20}{seconds:8.3f}{seconds / best['none']:8.2f}")


if __name__ == "__main__":
    main()
