"""Rotary bases that differ between heads, against collapse to the first frames."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from fp_lab.packing.rope import RopeConfig
from fp_lab.sampling.seeds import JITTER, generators


def jittered(rope: RopeConfig, heads: int, seeds: Sequence[int], strength: float) -> RopeConfig:
    """Rotary frequencies with bases theta_h = theta (1 + strength * e_h) on the time axis, e_h ~ U[-1, 1].

    Multi-head RoPE jitter of LoL (https://arxiv.org/abs/2601.16914, algorithm 1, as notes on the paper quote
    it; strength 0.8 on all heads is its best): at a distance where most frequencies come round together, all
    heads look at the first frames at once; bases of their own put that distance elsewhere in each head. Heads
    of one number share their draw over all blocks; each video has its own draws, from its seed.

    Args:
        rope: frequencies of the model.
        heads: attention heads.
        seeds: one per video.
        strength: in [0, 1).
    """
    draws = torch.stack([2 * torch.rand(heads, generator=one) - 1 for one in generators(seeds, JITTER)])
    return replace(rope, time_bases=rope.theta * (1 + strength * draws))
