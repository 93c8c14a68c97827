"""Damage of known kind and strength to frames: to the object's outline or the whole picture.

Frames are float32 ``(n, 3, h, w)`` in [0, 1], masks ``(n, 1, h, w)`` in [0, 1]. All randomness comes from the
generator that is passed.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def uniform(generator: Generator, count: int, low: float, high: float) -> Tensor:
    """Draw ``count`` numbers, uniformly distributed."""
    return low + (high - low) * torch.rand(count, generator=generator)


def log_uniform(generator: Generator, count: int, low: float, high: float) -> Tensor:
    """Draw ``count`` numbers with uniformly distributed logarithms."""
    return uniform(generator, count, math.log(low), math.log(high)).exp()


def smooth_noise(generator: Generator, count: int, channels: int, cells: int, size: int) -> Tensor:
    """Draw smooth random fields ``(count, channels, size, size)`` of about unit variance."""
    coarse = torch.randn(count, channels, cells, cells, generator=generator)
    fine = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return fine / fine.std((1, 2, 3), keepdim=True).clamp(min=1e-3)


def moved(images: Tensor, shift: Tensor) -> Tensor:
    """Warp images: each pixel is taken from `shift` ``(n, 2, h, w)`` (x, y, pixels) away; borders repeat."""
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    grid = torch.stack(((x + shift[:, 0]) * 2 / width - 1, (y + shift[:, 1]) * 2 / height - 1), -1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def dents(generator: Generator, count: int, size: int, *, cells: int = 7) -> Tensor:
    """Draw smooth shifts ``(count, 2, size, size)`` of 1 to 5 pixels."""
    strength = uniform(generator, count, 1.0, 5.0)[:, None, None, None] * size / 64
    return strength * smooth_noise(generator, count, 2, cells, size)


def scaling(centres: Tensor, factors: Tensor, size: int) -> Tensor:
    """Return shifts that scale a picture by `factors` ``(n, 2)`` (x, y) about `centres` ``(n, 2)``."""
    y, x = torch.meshgrid(torch.arange(size) + 0.0, torch.arange(size) + 0.0, indexing="ij")
    away = torch.stack((x, y))[None] - centres[:, :, None, None]
    return away * (1 / factors - 1)[:, :, None, None]


def cut_out(masks: Tensor) -> Tensor:
    """Grow masks by one pixel, except at the frame's border, so that moved objects leave no smear."""
    around = F.max_pool2d(masks, 3, stride=1, padding=1)
    return F.pad(around[..., 1:-1, 1:-1], (1, 1, 1, 1))


def with_object(frames: Tensor, backgrounds: Tensor, masks: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Move the object alone by `shift`; return the frames and its new mask.

    The object is cut out one pixel around its mask, so that its own soft edge comes along.
    """
    cover, look = moved(cut_out(masks), shift), moved(frames, shift)
    return backgrounds.lerp(look, cover), (moved(masks, shift) > 0.5).float()


def bites(generator: Generator, masks: Tensor) -> Tensor:
    """Draw parts of objects to remove: smooth spots ``(n, 1, h, w)``, a fifth to three quarters of each."""
    field = smooth_noise(generator, len(masks), 1, 8, masks.shape[-1])
    share = uniform(generator, len(masks), 0.2, 0.75)
    gone = torch.zeros_like(masks)
    for index, (mask, values, part) in enumerate(zip(masks, field, share, strict=True)):
        inside = values[mask > 0.5]
        if len(inside):
            gone[index] = ((values - inside.quantile(1 - part)) / 0.15).clamp(-1, 1) * 0.5 + 0.5
    return gone


def blur(images: Tensor, sigmas: Tensor) -> Tensor:
    """Blur ``(n, c, h, w)`` by a Gaussian with a standard deviation for each, pixels; 0 changes nothing."""
    n, c, h, w = images.shape
    reach = 9
    at = torch.arange(-reach, reach + 1, dtype=images.dtype)
    kernel = torch.exp(-(at**2) / (2 * sigmas.clamp(min=1e-3)[:, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None]
    padded = F.pad(images, (reach,) * 4, mode="replicate").reshape(1, n * c, h + 2 * reach, w + 2 * reach)
    across = F.conv2d(padded, kernel[:, :, None], groups=n * c)
    return F.conv2d(across, kernel[..., None], groups=n * c).reshape(n, c, h, w)


def white_noise(images: Tensor, deviations: Tensor, generator: Generator) -> Tensor:
    """Add independent noise with a standard deviation for each picture."""
    return images + deviations[:, None, None, None] * torch.randn(images.shape, generator=generator)


def blocks(images: Tensor, strengths: Tensor, side: int = 8) -> Tensor:
    """Blend each picture with a version of flat blocks, like the artefacts of coarse codecs."""
    flat = F.interpolate(F.avg_pool2d(images, side), scale_factor=float(side))
    return images.lerp(flat, strengths[:, None, None, None])


def tint(images: Tensor, gains: Tensor, offsets: Tensor) -> Tensor:
    """Change contrast about the middle grey ``(n,)`` and add a colour cast ``(n, 3)``."""
    return 0.5 + (images - 0.5) * gains[:, None, None, None] + offsets[:, :, None, None]
