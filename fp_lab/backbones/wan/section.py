"""Inputs of Wan that all denoising steps of a section share."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fp_lab.backbones.wan.attention import AttentionCalls, Words
from fp_lab.shapes import PackedContext


@dataclass(frozen=True)
class WanSection:
    """All that stays the same between the denoising steps of a section; see `Wan.prepare`.

    Attributes:
        shape: frames, rows and columns of the noisy latents.
        words: what each block reads of the caption.
        calls: for the self-attention of [context, noisy], their mask over keys alone.
        context: tokens ``b n d``; None without, or where it is remembered.
        modulation: of the context, ``b n 6 d``; None where it is that of the noisy tokens.
    """

    shape: tuple[int, int, int]
    words: tuple[Words, ...]
    calls: AttentionCalls
    context: Tensor | None
    modulation: Tensor | None


def key_scales(context: PackedContext, after: int) -> Tensor | None:
    """Factors ``depth n heads 1`` of a context's keys, and 1 for so many tokens after it; None for 1."""
    if context.key_scale is None:
        return None
    scales = context.key_scale[:, None, :, None].expand(-1, context.tokens.shape[1], -1, -1)
    return F.pad(scales, (0, 0, 0, 0, 0, after), value=1.0)


def spread(values: Tensor, count: int) -> Tensor:
    """Values ``b s ...`` of all tokens or of s parts of equal length, over `count` tokens."""
    if values.shape[1] == 1:
        return values.expand(-1, count, *values.shape[2:])
    return values.repeat_interleave(count // values.shape[1], 1)


def joint_modulation(section: WanSection, noisy: Tensor, count: int) -> Tensor:
    """Modulation ``b n 6 d`` of [context, noisy]; ``b 6 d`` where all have the same timestep.

    Args:
        section: whose context it is.
        noisy: modulation ``b 1|t 6 d``.
        count: noisy tokens.

    Raises:
        ValueError: noisy frames have timesteps of their own and the context has none.
    """
    if section.modulation is not None:
        return torch.cat((section.modulation, spread(noisy, count)), 1)
    if noisy.shape[1] == 1:
        return noisy[:, 0]
    if section.context is None:
        return spread(noisy, count)
    raise ValueError(
        "noisy frames have timesteps of their own, so the context needs some too; use context.timestep=zero "
        "or level"
    )
