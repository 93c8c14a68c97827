"""What a section attends to while it is denoised: its packed history, or remembered blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from fp_lab.causal import Blocks, keep_last
from fp_lab.flow.history_noise import with_noise
from fp_lab.flow.history_noise import without as without_history
from fp_lab.model import FramePackModel
from fp_lab.packing.assemble import arrange, arrange_videos, assemble
from fp_lab.packing.context import ContextConfig
from fp_lab.packing.rope import RopeConfig
from fp_lab.recipe import Recipe
from fp_lab.recipe.orders import Section
from fp_lab.sampling.recency import RecencyConfig, recency_bias
from fp_lab.sampling.seeds import LEVEL, seeded_noise
from fp_lab.shapes import ContextMemory, PackedContext, TextCondition


@dataclass(frozen=True)
class Attended:
    """What one section attends to.

    Attributes:
        under: maps a noise level sigma of the section to prepared sections with history, one per caption.
        without: makes the prepared section without history, under the first caption.
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
    """Known frames, discretised once where the model has a codebook; packed for every section.

    Frames that no later section packs are forgotten, so memory does not grow with the video; where importance
    is not by time, any frame may be packed again, and all are kept.
    """

    def __init__(
        self,
        model: FramePackModel,
        recipe: Recipe,
        sections: Sequence[Section],
        frames: int,
        blank: Tensor,
        seeds: Sequence[int],
        level: float = 0.0,
        *,
        context: ContextConfig | None = None,
        rope: RopeConfig | None = None,
        recency: RecencyConfig | None = None,
    ) -> None:
        """Begin without a known frame.

        Args:
            model: that packs.
            recipe: compression.
            sections: the plan.
            frames: length of the video, latent frames.
            blank: an empty frame, ``b c h w``.
            seeds: one per video, of the noise on the history.
            level: sigma_x of that noise, which is at level sigma_x * t.
            context: options in place of the model's, for positions.
            rope: rotary frequencies in place of the model's.
            recency: bias of attention on the history; None for none.
        """
        self.model, self.recipe, self.frames, self.blank = model, recipe, frames, blank
        self.seeds, self.level, self.recency = seeds, level, recency or RecencyConfig()
        self.context = context or model.context
        self.other: dict[str, Any] = {} if rope is None else {"rope": rope}
        self.kept: dict[int, Tensor] = {}
        self.by_time = model.context.importance.kind == "time"
        self.last_use: dict[int, int] = {}
        for index, section in enumerate(sections if self.by_time else ()):
            packed = arrange(recipe, section, frames, self.context).packed
            self.last_use |= dict.fromkeys(packed, index)

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Keep finished frames that will be packed."""
        kept = [i for i, frame in enumerate(frames) if frame in self.last_use or not self.by_time]
        history = self.model.history(latents[:, :, kept])
        # a view would keep all latents of the section alive
        self.kept |= {frames[i]: frame.clone() for i, frame in zip(kept, history.unbind(2), strict=True)}

    def attended(self, index: int, section: Section, texts: Sequence[TextCondition]) -> Attended:
        """Pack once, or at every time where the history is noisy."""
        model = self.model
        held = sorted(self.kept) if self.by_time else list(range(self.frames))
        canvas = torch.stack([self.kept.get(frame, self.blank) for frame in held or [0]], 2)
        if self.by_time:
            arrangements = [arrange(self.recipe, section, self.frames, self.context).taken_from(held)]
        else:
            arrangements = arrange_videos(self.recipe, [section], canvas, self.context)
        # only after the canvas, which holds the frames that this section packs for the last time
        self.kept = {
            frame: latent
            for frame, latent in self.kept.items()
            if not self.by_time or self.last_use[frame] > index
        }
        sample = assemble(canvas, arrangements, model.context.missing)
        told, size = model.context.timestep == "level", (canvas.shape[-2], canvas.shape[-1])
        # one draw per section: new noise at every step would be another context, and another flow, at each
        noises = (
            [
                _history_noise(self.seeds, index, number, level.latents)
                for number, level in enumerate(sample.context)
            ]
            if told
            else []
        )

        def prepared(level: float, captions: Sequence[TextCondition]) -> Sequence[Any]:
            packed = None
            if told:
                levels = canvas.new_full((len(canvas),), level)
                packed = model.pack(with_noise(sample.context, levels, noises), levels, **self.other)
            # level 1 is no history, as training drops it: pure noise where the model is told the level, zero
            # latents where these stand for what is missing, otherwise no context
            elif level < 1:
                packed = model.pack(sample.context, **self.other)
            elif model.context.missing == "zero":
                dropped = torch.ones(len(canvas), dtype=torch.bool, device=canvas.device)
                packed = model.pack(without_history(sample.context, dropped, "zero"), **self.other)
            packed = self.biased(packed, sample.times)
            return [
                model.prepare(sample.times, size, text, model.memory_of(packed, text), **self.other)
                for text in captions
            ]

        @cache
        def without() -> Any:
            return prepared(1.0, texts[:1])[0]

        # noise on the history falls with the section's: it has to be packed again at every evaluation
        if self.level:
            return Attended(lambda sigma: prepared(self.level * sigma, texts), without)
        # tokens and phases serve every step; keys and values only where the context is isolated, as otherwise
        # it attends to the noisy tokens, which change
        clean = prepared(0.0, texts)
        return Attended(lambda sigma: clean, without)

    def biased(self, packed: PackedContext | None, times: Tensor) -> PackedContext | None:
        """The context with the bias of recency for a section at times ``b t``."""
        if packed is None or not self.recency.beta:
            return packed
        if packed.frames is None:
            raise ValueError(
                f"sampling.recency: got beta {self.recency.beta} with packer {self.model.context.packer!r}, "
                "whose tokens do not tell their frames; expected 0, or PackedContext.frames from it"
            )
        return replace(packed, key_bias=recency_bias(packed.frames, times, self.recency))


class CachedHistory:
    """Keys and values of the blocks in a sliding window; each block is computed once, when it is done.

    Args:
        model: with block-causal attention.
        recipe: of the window.
        rope: rotary frequencies in place of the model's.
    """

    def __init__(self, model: FramePackModel, recipe: Recipe, rope: RopeConfig | None = None) -> None:
        """Begin without a known frame."""
        self.model, self.blocks = model, Blocks.of(recipe)
        self.other: dict[str, Any] = {} if rope is None else {"rope": rope}
        self.memories: list[ContextMemory] = []

    def learn(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        """Append clean blocks under each caption and drop those that have left the window."""
        for block in self.blocks.split(frames):
            places = [frames.index(frame) for frame in block]
            self._append(block, latents[:, :, places], texts)

    def _append(self, frames: Sequence[int], latents: Tensor, texts: Sequence[TextCondition]) -> None:
        items, _, _, rows, columns = latents.shape
        times = self._times(frames, latents)
        clean = latents.new_zeros(items)
        # one more pass, as clean tokens: the keys of the last denoising step are those of a noisy block
        block = self.model.backbone.as_context(
            latents, times, clean, self.blocks.moments(times), **self.other
        )
        past: Sequence[ContextMemory | None] = self.memories or [None] * len(texts)
        self.like = latents[:, :, :1]
        kept = self.blocks.history * self.model.section_tokens(1, rows, columns)
        self.memories = [
            # per caption, as keys depend on the text that the block reads; cached keys are rotated by
            # absolute times, and rotary attention sees differences, so they stay right when the window slides
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
            return model.prepare(times, size, texts[0], None, moments, **self.other)

        # exact at every time: earlier blocks never attend to this one
        remembered = [
            model.prepare(times, size, text, memory, moments, **self.other)
            for text, memory in zip(texts, self.memories, strict=True)
        ]
        return Attended(lambda sigma: remembered, without)

    @staticmethod
    def _times(frames: Sequence[int], latents: Tensor) -> Tensor:
        return torch.tensor([list(frames)], device=latents.device).expand(len(latents), -1)


def _history_noise(seeds: Sequence[int], section: int, level: int, latents: Tensor) -> Tensor:
    """Noise of a level, each video from its own seed and the same at every time of a section."""
    # other numbers than those of sections
    return seeded_noise(seeds, section + LEVEL * (1 + level), latents.shape[1:]).to(latents)
