"""Axis legend and the named results that rooms hand to each other.

Axes: ``b`` batch, ``c`` channels, ``t`` frames, ``h`` rows, ``w`` columns, ``n`` tokens, ``d`` width,
``l`` words, ``k`` rotary pairs of a head. Latents are ``b c t h w``; "frame" means latent frame.
"""

from dataclasses import dataclass

from torch import Tensor

from fp_lab.recipe import Kernel


@dataclass(frozen=True)
class Phases:
    """Rotary phases of tokens, float32; not unit phasors where they were pooled.

    Attributes:
        cos: ``b n k``.
        sin: ``b n k``.
    """

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True)
class ContextLevel:
    """The frames of one level of the context, before projection.

    Attributes:
        kernel: latent frames, rows and columns per token.
        latents: ``b c t h w``; where fewer frames are known than fit, they come first, the last repeated.
        times: frame indices, int64 ``b t``.
        known: bool ``b t``; a token counts if any of its frames is known.
    """

    kernel: Kernel
    latents: Tensor
    times: Tensor
    known: Tensor


@dataclass(frozen=True)
class PackedSample:
    """One training sample or one call of the sampler.

    Attributes:
        times: frame indices of the section, int64 ``b t``.
        context: one entry per level.
        target: clean latents of the section ``b c t h w``; None where they are to be generated.
    """

    times: Tensor
    context: tuple[ContextLevel, ...]
    target: Tensor | None = None


@dataclass(frozen=True)
class PackedContext:
    """The context as the backbone sees it.

    Attributes:
        tokens: ``b n d``.
        phases: of the tokens.
        mask: bool ``b n``, True for tokens to attend to; None when all are.
    """

    tokens: Tensor
    phases: Phases
    mask: Tensor | None = None


@dataclass(frozen=True)
class TextCondition:
    """Encoded captions.

    Attributes:
        tokens: ``b l d``.
        mask: bool ``b l``, True for words, at least one per caption; None when all are.
    """

    tokens: Tensor
    mask: Tensor | None = None
