"""What a section attends to while it is denoised: its packed history, or remembered blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from fp_lab.causal import Blocks, keep_last
from fp_lab.history import with_noise
from fp_lab.model import FramePackModel
from fp_lab.orders import Section
from fp_lab.recipe import Recipe
from fp_lab.samples import arrange_videos, assemble
from fp_lab.shapes import ContextMemory, PackedContext, TextCondition

Context = PackedContext | ContextMemory | None


@dataclass(frozen=True)
class Attended:
    """What one section attends to.

    Attributes:
        times: positions of its frames, int64 ``b t``.
        contexts: at a time sigma of the section, one context per caption.
        without: the context that stands for no history.
        moments: distance of its frames from the first of their block, where that is not the section's first.
    """

    times: Tensor
    contexts: Callable[[float], Sequence[Context]]
    without: Context
    moments: Tensor | None = None


@runtime_checkable
class History(Protocol):
    """Frames that are known so far."""

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Take in finished frames, latents ``b c t h w``, made under some captions."""
        ...

    def attended(self, index: int, section: Section, texts: Sequence[TextCondition]) -> Attended:
        """What the section of this index attends to under each caption."""
        ...


class PackedHistory:
    """Known frames on a canvas, discretised once where the model has a codebook; packed for every section."""

    def __init__(
        self,
        model: FramePackModel,
        recipe: Recipe,
        canvas: Tensor,
        seeds: Sequence[int],
        level: float = 0.0,
    ) -> None:
        """Begin without a known frame.

        Args:
            model: that packs.
            recipe: compression.
            canvas: ``b c t h w`` of the video's length; overwritten.
            seeds: one per video, of the noise on the history.
            level: sigma_x of that noise, which is at level sigma_x * t.
        """
        self.model, self.recipe, self.canvas, self.seeds, self.level = model, recipe, canvas, seeds, level

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Place finished frames."""
        self.canvas[:, :, list(frames)] = self.model.history(latents)

    def attended(self, index: int, section: Section, texts: Sequence[TextCondition]) -> Attended:
        """Pack once, or at every time where the history is noisy."""
        model = self.model
        arrangements = arrange_videos(self.recipe, [section], self.canvas, model.context)
        sample = assemble(self.canvas, arrangements, model.context.missing)
        told = model.context.timestep == "level"
        noises = (
            [_history_noise(self.seeds, index, level.latents) for level in sample.context] if told else []
        )

        def packed(level: float) -> PackedContext | None:
            if not told:
                return model.pack(sample.context)
            levels = self.canvas.new_full((len(self.canvas),), level)
            return model.pack(with_noise(sample.context, levels, noises), levels)

        def remembered(level: float) -> Sequence[Context]:
            context = packed(level)
            return [model.memory_of(context, text) for text in texts]

        without = packed(1.0) if told else None
        if self.level:
            return Attended(sample.times, lambda sigma: remembered(self.level * sigma), without)
        clean = remembered(0.0)
        return Attended(sample.times, lambda sigma: clean, without)


class CachedHistory:
    """Keys and values of the blocks in a sliding window; each block is computed once, when it is done."""

    def __init__(self, model: FramePackModel, recipe: Recipe) -> None:
        """Begin without a known frame."""
        self.model, self.blocks = model, Blocks.of(recipe)
        self.memories: list[ContextMemory | None] = []

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Append a clean block under each caption and let go of what has left the window."""
        items, _, _, rows, columns = latents.shape
        times = self._times(frames, latents)
        clean = latents.new_zeros(items)
        block = self.model.backbone.as_context(latents, times, clean, self.blocks.moments(times))
        past = self.memories or [None] * len(texts)
        kept = self.blocks.history * self.model.section_tokens(1, rows, columns)
        self.memories = [
            keep_last(self.model.backbone.remember(block, text, memory), kept)
            for text, memory in zip(texts, past, strict=True)
        ]

    def attended(self, index: int, section: Section, texts: Sequence[TextCondition]) -> Attended:
        """The window's memory, the same at every time."""
        memory = self.memories[0]
        assert memory is not None
        items = len(memory.keys[0])
        times = torch.tensor([section.targets], device=memory.keys[0].device).expand(items, -1)
        memories = self.memories
        return Attended(times, lambda sigma: memories, None, self.blocks.moments(times))

    def _times(self, frames: Sequence[int], latents: Tensor) -> Tensor:
        return torch.tensor([list(frames)], device=latents.device).expand(len(latents), -1)


def _history_noise(seeds: Sequence[int], section: int, latents: Tensor) -> Tensor:
    """Noise of a level, each video from its own seed and the same at every time of a section."""
    return seeded_noise([seed + 2**40 for seed in seeds], section, latents.shape[1:]).to(latents)


def seeded_noise(seeds: Sequence[int], section: int, shape: Sequence[int]) -> Tensor:
    """Noise of one section, each video from its own seed; made on the CPU, so devices agree."""
    generators = [Generator().manual_seed((seed * 1_000_003 + section) % 2**63) for seed in seeds]
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])
