"""Damage of the designer's, each frame alone."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from fp_lab.flow.history_sources import HISTORY_SOURCES, AugmentedConfig
from fp_lab.training.history.source import HistorySource, TrainingStep, Videos


@HISTORY_SOURCES.register("augmented")
class AugmentedHistory(HistorySource):
    """True frames, each left alone or damaged in one way, drawn for every frame alone.

    * clean, with probability `clean`; else one of three, each as likely:
    * noise: (1 - s) x + s eps with s ~ U(0, `noise`);
    * resized: bilinear, with antialiasing, to f times the size and back, f ~ U(`smallest`, 1);
    * saturation: m + f (x - m) with m the mean over channels and f ~ U(1 - `saturation`, 1 + `saturation`).

    Source: Frame-Aware Corrupt of Helios (https://arxiv.org/abs/2603.04379). One damage per frame is what
    its paper is said to do (second-hand), with shares of noise, resizing and exposure of 0, .8, .1 in its
    first two stages and .4, .4, 0 in the third. Its released code draws either noise (.9) or resizing (.1)
    for all frames, and saturation on top; ranges and formulas are the code's. Even shares are this lab's.
    """

    def videos(self, step: TrainingStep) -> Videos:
        """Return damaged frames as history."""
        return Videos(augment(step.latents, self.config.augmented, step.own), step.latents)


def augment(latents: Tensor, config: AugmentedConfig, generator: Generator) -> Tensor:
    """Damage each frame alone, see `AugmentedHistory`.

    Args:
        latents: ``b c t h w``.
        config: how much.
        generator: on the CPU.
    """
    frames = latents.movedim(2, 1).flatten(0, 1).clone()  # (b t) c h w
    count = len(frames)
    damaged = torch.rand(count, generator=generator) >= config.clean
    kind = torch.randint(3, (count,), generator=generator).where(damaged, 3)
    strength = torch.rand(count, generator=generator)
    noisy, resized, saturated = ((kind == one).nonzero()[:, 0] for one in range(3))
    noise = torch.randn((len(noisy), *frames.shape[1:]), generator=generator).to(frames)
    frames[noisy] = frames[noisy].lerp(noise, _per_frame(config.noise * strength[noisy], frames))
    factor = 1 - config.saturation + 2 * config.saturation * strength[saturated]
    mean = frames[saturated].mean(1, keepdim=True)
    frames[saturated] = mean + _per_frame(factor, frames) * (frames[saturated] - mean)
    scale = config.smallest + (1 - config.smallest) * strength[resized]
    _resize(frames, resized, scale)
    return frames.unflatten(0, (len(latents), -1)).movedim(1, 2)


def _resize(frames: Tensor, chosen: Tensor, scales: Tensor) -> None:
    """Bring chosen frames to a smaller size and back; those of one size at once."""
    size = torch.tensor(frames.shape[-2:])
    smaller = (scales[:, None] * size).round().long().clamp_min(1)
    for rows, columns in smaller.unique(dim=0).tolist():
        same = chosen[(smaller == torch.tensor([rows, columns])).all(1)]
        small = interpolate(frames[same], (rows, columns), mode="bilinear", antialias=True)
        frames[same] = interpolate(small, frames.shape[-2:], mode="bilinear", antialias=True)


def _per_frame(values: Tensor, frames: Tensor) -> Tensor:
    return values.to(frames)[:, None, None, None]
