"""Corruption and dropout of the history in training, so that a model does not trust it blindly."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Generator, Tensor

from fp_lab.checks.later import acts_by_chance
from fp_lab.checks.ranges import check_ranges
from fp_lab.flow.history_sources import (
    HISTORY_SOURCES,
    WITH_SETTINGS,
    AugmentedConfig,
    RecycledConfig,
    ResampledConfig,
    ReversedConfig,
    RolloutConfig,
)
from fp_lab.flow.matching import interpolate
from fp_lab.packing.context import Missing
from fp_lab.shapes import ContextLevel

HistoryLevel = Literal["clean", "random", "fixed"]


@dataclass(frozen=True)
class HistoryConfig:
    """The history in training; a discrete one (``+D``) is discretised after all of it.

    Attributes:
        source: where it is taken from: the ``true`` video; ``augmented``, each of its frames damaged alone;
            ``recycled``, with errors of the model's own; ``resampled``, noised and brought back by the model;
            a ``rollout`` of the model; one ``reversed`` in time; or what a plugin registers.
        noise: latents become (1-s) x + s * noise with s ~ U(0, noise) per video; the model is not told.
        saturation: latents are scaled about the mean of their frame and channel by U(1-s, 1+s) per video, as
            drift over- and undersaturates them.
        clean: share of videos whose history is left alone.
        dropout: share of videos that are trained without history: it is missing, or, where the model is told
            the level of its noise, it is pure noise.
        level: noise that the model is told of (`context.timestep`: level), at sigma_x * t with t the time of
            the section: ``clean`` has none, sigma_x is ``random`` in U(0, 1), or ``fixed``.
        sigma: sigma_x of ``fixed``.
        augmented: settings of that source.
        recycled: settings of that source.
        resampled: settings of that source.
        rollout: settings of that source.
        reversed: settings of that source.
    """

    source: str = "true"
    noise: float = 0.0
    saturation: float = 0.0
    clean: float = field(default=0.1, metadata=acts_by_chance())
    dropout: float = field(default=0.0, metadata=acts_by_chance())
    level: HistoryLevel = "clean"
    sigma: float = 0.1
    augmented: AugmentedConfig = field(default_factory=AugmentedConfig)
    recycled: RecycledConfig = field(default_factory=RecycledConfig)
    resampled: ResampledConfig = field(default_factory=ResampledConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    reversed: ReversedConfig = field(default_factory=ReversedConfig)

    def __post_init__(self) -> None:
        """Refuse an unknown source, and shares and levels outside [0, 1]."""
        HISTORY_SOURCES.require("objective.history.source", self.source)
        names = ("noise", "saturation", "clean", "dropout", "sigma")
        check_ranges("objective.history", self, **dict.fromkeys(names, "[0, 1]"))

    def idle(self) -> tuple[str, ...]:
        """Names of settings that do nothing: those of other sources."""
        return tuple(name for name in WITH_SETTINGS if name != self.source)


def draw_corruption(
    latents: Tensor, config: HistoryConfig, generator: Generator
) -> Callable[[Tensor], Tensor]:
    """Draw noise and saturation that the model is not told of.

    Args:
        latents: ``b c t h w``, of which the shape counts.
        config: how much.
        generator: on the CPU.

    Returns:
        Function that corrupts latents of that shape.
    """
    items = len(latents)
    touched = (torch.rand(items, generator=generator) >= config.clean).float()
    if config.saturation:
        stretch = config.saturation * (2 * torch.rand(items, generator=generator) - 1) * touched
    if config.noise:
        sigmas = config.noise * torch.rand(items, generator=generator) * touched
        # drawn on the CPU like every number here, so devices agree
        noise = torch.randn(latents.shape, generator=generator).to(latents)

    def corrupted(latents: Tensor) -> Tensor:
        if config.saturation:
            mean = latents.mean((-2, -1), keepdim=True)
            latents = mean + (1 + _per_video(stretch, latents)) * (latents - mean)
        if config.noise:
            latents = interpolate(latents, noise, sigmas.to(latents.device))
        return latents

    return corrupted


def draw_levels(sigmas: Tensor, config: HistoryConfig, generator: Generator) -> Tensor:
    """Noise levels ``b`` of histories whose sections are at times ``sigmas``: sigma_x * t."""
    # a factor of the section's time: the history is never noisier than the section
    if config.level == "random":
        return sigmas * torch.rand(len(sigmas), generator=generator).to(sigmas)
    return sigmas * (config.sigma if config.level == "fixed" else 0.0)


def with_noise(
    context: tuple[ContextLevel, ...], levels: Tensor, noises: Sequence[Tensor]
) -> tuple[ContextLevel, ...]:
    """A context at noise levels ``b``; one noise per level, of the shape of its latents."""
    return tuple(
        replace(level, latents=interpolate(level.latents, noise, levels))
        for level, noise in zip(context, noises, strict=True)
    )


def without(context: tuple[ContextLevel, ...], dropped: Tensor, missing: Missing) -> tuple[ContextLevel, ...]:
    """A context whose history is missing for some videos, as `missing` treats what does not exist.

    Args:
        context: levels ``b c t h w``.
        dropped: bool ``b``.
        missing: ``zero`` packs zero latents instead; else no frame is known.
    """
    kept = ~dropped
    if missing == "zero":
        return tuple(
            replace(level, latents=level.latents.where(_per_video(kept, level.latents), 0))
            for level in context
        )
    # marked unknown, not cut out: the other videos of the batch still have these tokens
    return tuple(replace(level, known=level.known & kept[:, None]) for level in context)


def _per_video(values: Tensor, latents: Tensor) -> Tensor:
    return values.to(latents.device)[:, None, None, None, None]
