"""What a section attends to while it is denoised: its packed history, or remembered blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

from fp_lab.causal import Blocks, keep_last
from fp_lab.history import with_noise
from fp_lab.model import FramePackModel
from fp_lab.orders import Section
from fp_lab.recipe import Recipe
from fp_lab.samples import arrange_videos, assemble
from fp_lab.shapes import ContextMemory, TextCondition


@dataclass(frozen=True)
class Attended:
    """What one section attends to.

    Attributes:
        under: at a time sigma of the section, the section as prepared with its history under each caption.
        without: prepared with what stands for no history, under the first caption.
    """

    under: Callable[[float], Sequence[Any]]
    without: Callable[[], Any]


@runtime_checkable
class History(Protocol):
    """Frames that are known so far."""

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Take in finished frames, latents ``b c t h w``, made under some captions."""
        ...

    def attended(self, index: int, section: Section, texts: Sequence[TextCondition]) -> Attended:
        """What the section of this index attends to."""
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
        model, canvas = self.model, self.canvas
        arrangements = arrange_videos(self.recipe, [section], canvas, model.context)
        sample = assemble(canvas, arrangements, model.context.missing)
        told, size = model.context.timestep == "level", (canvas.shape[-2], canvas.shape[-1])
        noises = (
            [_history_noise(self.seeds, index, level.latents) for level in sample.context] if told else []
        )

        def prepared(level: float, captions: Sequence[TextCondition]) -> Sequence[Any]:
            packed = None
            if told:
                levels = canvas.new_full((len(canvas),), level)
                packed = model.pack(with_noise(sample.context, levels, noises), levels)
            elif level < 1:
                packed = model.pack(sample.context)
            return [
                model.prepare(sample.times, size, text, model.memory_of(packed, text)) for text in captions
            ]

        @cache
        def without() -> Any:
            return prepared(1.0, texts[:1])[0]

        if self.level:
            return Attended(lambda sigma: prepared(self.level * sigma, texts), without)
        clean = prepared(0.0, texts)
        return Attended(lambda sigma: clean, without)


class CachedHistory:
    """Keys and values of the blocks in a sliding window; each block is computed once, when it is done."""

    def __init__(self, model: FramePackModel, recipe: Recipe) -> None:
        """Begin without a known frame."""
        self.model, self.blocks = model, Blocks.of(recipe)
        self.memories: list[ContextMemory] = []

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Append a clean block under each caption and let go of what has left the window."""
        items, _, _, rows, columns = latents.shape
        times = self._times(frames, latents)
        clean = latents.new_zeros(items)
        block = self.model.backbone.as_context(latents, times, clean, self.blocks.moments(times))
        past: Sequence[ContextMemory | None] = self.memories or [None] * len(texts)
        self.like = latents[:, :, :1]
        kept = self.blocks.history * self.model.section_tokens(1, rows, columns)
        self.memories = [
            keep_last(self.model.backbone.remember(block, text, memory), kept)
            for text, memory in zip(texts, past, strict=True)
        ]

    def attended(self, index: int, section: Section, texts: Sequence[TextCondition]) -> Attended:
        """The window's memories, the same at every time."""
        model = self.model
        times = self._times(section.targets, self.like)
        size, moments = (self.like.shape[-2], self.like.shape[-1]), self.blocks.moments(times)

        @cache
        def without() -> Any:
            return model.prepare(times, size, texts[0], None, moments)

        remembered = [
            model.prepare(times, size, text, memory, moments)
            for text, memory in zip(texts, self.memories, strict=True)
        ]
        return Attended(lambda sigma: remembered, without)

    @staticmethod
    def _times(frames: Sequence[int], latents: Tensor) -> Tensor:
        return torch.tensor([list(frames)], device=latents.device).expand(len(latents), -1)


def _history_noise(seeds: Sequence[int], section: int, latents: Tensor) -> Tensor:
    """Noise of a level, each video from its own seed and the same at every time of a section."""
    return seeded_noise([seed + 2**40 for seed in seeds], section, latents.shape[1:]).to(latents)


def seeded_noise(seeds: Sequence[int], section: int, shape: Sequence[int]) -> Tensor:
    """Noise of one section, each video from its own seed; made on the CPU, so devices agree."""
    generators = [Generator().manual_seed((seed * 1_000_003 + section) % 2**63) for seed in seeds]
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])
