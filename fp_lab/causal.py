"""Block-causal attention: one model over a sliding window of clean and noisy blocks, nothing packed.

A block holds the frames of one section; the given first frame is a block of its own. A query of block i sees
the keys of block i and of the `history` frames before it. In training every block of a window has a noise
level of its own; in sampling blocks that are done are clean, and their keys and values are computed once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

import torch
from torch import Generator, Tensor

from fp_lab.recipe import BASE, Recipe
from fp_lab.recipe.lengths import left_over
from fp_lab.shapes import ContextMemory


@dataclass(frozen=True)
class Blocks:
    """A sliding window over blocks of a section's length.

    Attributes:
        section: frames per block.
        history: frames before a block that it sees.
    """

    section: int
    history: int

    @classmethod
    def of(cls, recipe: Recipe) -> "Blocks":
        """Blocks of a recipe.

        Raises:
            ValueError: it is not one run of uncompressed frames before the section.
        """
        runs = recipe.left.runs
        plain = len(runs) == 1 and {level.kernel for level in recipe.levels} == {BASE}
        kept = {recipe.left.tail, recipe.right.tail} & {"ta", "tc"}
        # a block is target and history at once, so no codebook can change the one without the other
        if recipe.order != "vanilla" or not plain or kept or recipe.codebook:
            raise ValueError(
                f"context.attention: got 'block_causal' with recipe {recipe}, expected uncompressed frames "
                "before the section, no codebook and no more, such as td_f28k1_g4"
            )
        return cls(recipe.section, recipe.left.runs[0].frames)

    def index(self, frames: Tensor) -> Tensor:
        """Block of each frame: 0 for the first frame, then 1, 2, .."""
        return torch.where(frames > 0, 1 + (frames - 1).div(self.section, rounding_mode="floor"), 0)

    def first(self, frames: Tensor) -> Tensor:
        """First frame of each frame's block."""
        return torch.where(frames > 0, 1 + (self.index(frames) - 1) * self.section, 0)

    def moments(self, frames: Tensor) -> Tensor:
        """Distance of each frame from the first of its block."""
        return frames - self.first(frames)

    def split(self, frames: Sequence[int]) -> list[list[int]]:
        """Frames that ascend, block by block."""
        index = self.index(torch.tensor(frames)).tolist()
        return [
            [frame for frame, _ in block]
            for _, block in groupby(zip(frames, index, strict=True), key=itemgetter(1))
        ]

    def mask(self, frames: Tensor, tokens_per_frame: int) -> Tensor:
        """Which frame sees which, over tokens: bool ``b n n`` for frames ``b t``."""
        index, first = self.index(frames), self.first(frames)
        # causal between blocks, full inside one; history is counted from the block's first frame, so that all
        # queries of a block see the same keys, as in a cache
        earlier = index[:, None, :] <= index[:, :, None]
        near = frames[:, None, :] >= first[:, :, None] - self.history
        seen = earlier & near
        return seen.repeat_interleave(tokens_per_frame, 1).repeat_interleave(tokens_per_frame, 2)

    def windows(self, length: int) -> list[range]:
        """Windows that end with each block of a video, as far as they reach back."""
        windows = []
        for start in range(1, length, self.section):
            windows.append(range(max(0, start - self.history), min(start + self.section, length)))
        return windows

    def short_share(self, length: int) -> float:
        """Share of the windows of a video whose last block is shorter than the others."""
        return (left_over(self.section, length) > 0) / max(1, len(self.windows(length)))

    def draw_window(self, items: int, length: int, generator: Generator) -> Tensor:
        """Frames ``b t`` of one window per video, all of the same length, each as likely as sampling has it.

        Raises:
            ValueError: videos of one frame.
        """
        windows = self.windows(length)
        if not windows:
            raise ValueError(f"videos of {length} frames leave nothing to generate; use at least 2")
        chosen = windows[int(torch.randint(len(windows), (), generator=generator))]
        same = [window for window in windows if len(window) == len(chosen)]
        picks = torch.randint(len(same), (items,), generator=generator).tolist()
        return torch.tensor([list(same[pick]) for pick in picks])

    def draw_levels(self, frames: Tensor, clean: float, generator: Generator) -> Tensor:
        """Noise levels ``b t``, one per block, uniform in [0, 1]; 0 for the given first frame.

        Args:
            frames: of the windows.
            clean: share of videos in which all blocks but the last are clean, as they are in sampling.
            generator: on the CPU.
        """
        index = self.index(frames)
        blocks = index - index[:, :1]
        # a level per block, as Diffusion Forcing (https://arxiv.org/abs/2407.01392) has one per token
        drawn = torch.rand(len(frames), int(blocks.max()) + 1, generator=generator)
        levels = drawn.gather(1, blocks)
        past_is_clean = torch.rand(len(frames), generator=generator) < clean
        past = index < index[:, -1:]
        return levels.where(~(past & past_is_clean[:, None]) & (frames > 0), 0)


def keep_last(memory: ContextMemory, tokens: int) -> ContextMemory:
    """The last keys and values of a memory."""
    # rotated keys are cut as they are: their positions are times of the video, not places in the window
    mask = None if memory.mask is None else memory.mask[:, -tokens:]
    return replace(
        memory,
        keys=tuple(k[:, :, -tokens:] for k in memory.keys),
        values=tuple(v[:, :, -tokens:] for v in memory.values),
        mask=mask,
    )
